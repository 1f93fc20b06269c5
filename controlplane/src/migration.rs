//! The steps by which an entity store of any age becomes one of today: numbered, forward only, the same on SQLite and
//! PostgreSQL. Never changes rows that a running control plane writes.

mod m0001_entities;
mod m0002_identity;
mod m0003_calls;
mod m0004_alarms;
mod m0005_assets;
mod m0006_customers;
mod m0007_calculated_fields;
mod m0009_propagation;
mod m0010_announcements;
mod m0011_alarm_parents;
mod shape;

use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// Every step, in order.
#[derive(Debug)]
pub struct Migrations;

impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_entities::Step),
            Box::new(m0002_identity::Step),
            Box::new(m0003_calls::Step),
            Box::new(m0004_alarms::Step),
            Box::new(m0005_assets::Step),
            Box::new(m0006_customers::Step),
            Box::new(m0007_calculated_fields::Step),
            Box::new(m0009_propagation::Step),
            Box::new(m0010_announcements::Step),
            Box::new(m0011_alarm_parents::Step),
        ]
    }
}
