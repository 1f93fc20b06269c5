//! Perimeters: a circle on the globe or polygons in degrees, and whether a point lies in them. Never knows whose point it is.

use serde_json::Value;

/// Points of all polygons of one perimeter.
pub const POINTS_MAX: usize = 4_096;
/// Kilometres, the Earth's mean radius.
const EARTH_RADIUS_KM: f64 = 6_371.008_771_4;

/// Where the point and the perimeter come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Geofence {
    pub latitude_key: String,
    pub longitude_key: String,
    pub perimeter: Source,
}

/// Tells when the point of an originator begins or ends to lie within.
#[derive(Clone, Debug, PartialEq)]
pub struct GeofenceEvents {
    pub fence: Geofence,
    /// For longer than this within, or outside, in milliseconds, and it has stayed there.
    pub min_inside_ms: i64,
    pub min_outside_ms: i64,
    /// Every message is told whether it lies within, not only the first after it has stayed.
    pub report_each: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Fixed(Perimeter),
    /// JSON under this key of the metadata.
    Metadata {
        key: String,
        circle: bool,
    },
    /// Polygons under `perimeter`, or a circle's numbers, each under its own key, as before version 3.3 of ThingsBoard.
    Spread,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Perimeter {
    Circle {
        center: Point,
        radius_km: f64,
    },
    /// Rings. What lies in an even number of them lies in none: a ring within another is a hole.
    Polygons(Vec<Vec<Point>>),
}

/// Degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub latitude: f64,
    pub longitude: f64,
}

impl Perimeter {
    /// Reads ThingsBoard's `{"latitude":…,"longitude":…,"radius":…,"radiusUnit":"METER"}`.
    ///
    /// # Errors
    /// What was expected.
    pub fn circle(value: &Value) -> Result<Self, String> {
        let number = |field: &str| value.get(field).and_then(Value::as_f64).ok_or_else(|| format!("{field}: expected a number"));
        let unit = value.get("radiusUnit").and_then(Value::as_str).unwrap_or("METER");
        Self::around(Point { latitude: number("latitude")?, longitude: number("longitude")? }, number("radius")?, unit)
    }

    /// A circle with its radius in one of ThingsBoard's units.
    ///
    /// # Errors
    /// What was expected.
    pub fn around(center: Point, radius: f64, unit: &str) -> Result<Self, String> {
        let per_km = match unit {
            "METER" => 1_000.0,
            "KILOMETER" => 1.0,
            "FOOT" => 3_280.84,
            "MILE" => 0.621_37,
            "NAUTICAL_MILE" => 0.539_957,
            other => return Err(format!("{other}: expected METER, KILOMETER, FOOT, MILE or NAUTICAL_MILE")),
        };
        Ok(Self::Circle { center, radius_km: radius / per_km })
    }

    /// Reads `[[latitude,longitude],…]`, or an array of such rings.
    ///
    /// # Errors
    /// What was expected.
    pub fn polygons(value: &Value) -> Result<Self, String> {
        let expected = || "expected [[latitude,longitude],…] of at least 3 points, or an array of such polygons".to_owned();
        let rings = value.as_array().ok_or_else(expected)?;
        let is_ring = rings.first().and_then(Value::as_array).and_then(|point| point.first()).is_some_and(Value::is_number);
        let rings: Vec<Option<Vec<Point>>> = if is_ring { vec![ring(value)] } else { rings.iter().map(ring).collect() };
        let rings: Vec<Vec<Point>> = rings.into_iter().collect::<Option<_>>().ok_or_else(expected)?;
        if rings.is_empty() || rings.iter().any(|ring| ring.len() < 3) {
            return Err(expected());
        }
        if rings.iter().map(Vec::len).sum::<usize>() > POINTS_MAX {
            return Err(format!("more than {POINTS_MAX} points"));
        }
        Ok(Self::Polygons(rings))
    }

    #[must_use]
    pub fn contains(&self, point: Point) -> bool {
        match self {
            Self::Circle { center, radius_km } => distance_km(*center, point) < *radius_km,
            Self::Polygons(rings) => rings.iter().filter(|ring| is_within(ring, point)).count() % 2 == 1,
        }
    }
}

fn ring(value: &Value) -> Option<Vec<Point>> {
    let point = |value: &Value| match value.as_array()?.as_slice() {
        [latitude, longitude, ..] => Some(Point { latitude: latitude.as_f64()?, longitude: longitude.as_f64()? }),
        _ => None,
    };
    value.as_array()?.iter().map(point).collect()
}

/// By the haversine formula.
fn distance_km(a: Point, b: Point) -> f64 {
    let (from, to) = (a.latitude.to_radians(), b.latitude.to_radians());
    let across = (b.longitude - a.longitude).to_radians();
    let h = ((to - from) / 2.0).sin().powi(2) + from.cos() * to.cos() * (across / 2.0).sin().powi(2);
    2.0 * EARTH_RADIUS_KM * h.clamp(0.0, 1.0).sqrt().asin()
}

/// Whether a line from the point to the north crosses the ring an odd number of times.
fn is_within(ring: &[Point], point: Point) -> bool {
    let next = ring.iter().cycle().skip(1);
    let crosses = |(a, b): &(&Point, &Point)| {
        let between = (a.longitude > point.longitude) != (b.longitude > point.longitude);
        between && {
            let along = (point.longitude - a.longitude) / (b.longitude - a.longitude);
            point.latitude < a.latitude + along * (b.latitude - a.latitude)
        }
    };
    ring.iter().zip(next).filter(crosses).count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(perimeter: &Result<Perimeter, String>, (latitude, longitude): (f64, f64), within: bool) {
        assert_eq!(perimeter.as_ref().expect("valid").contains(Point { latitude, longitude }), within);
    }

    #[test]
    fn circles_are_measured_on_the_globe() {
        // One degree of longitude is 111.2 km at the equator and half of it at 60 degrees.
        for (latitude, radius, within) in [(0.0, 111.3, true), (0.0, 111.1, false), (60.0, 55.7, true), (60.0, 55.5, false)] {
            let circle = Perimeter::around(Point { latitude, longitude: 179.5 }, radius, "KILOMETER");
            check(&circle, (latitude, -179.5), within);
        }
        let circle = json!({ "latitude": 48.196, "longitude": 24.6532, "radius": 100.0, "radiusUnit": "METER" });
        check(&Perimeter::circle(&circle), (48.1965, 24.6532), true);
        check(&Perimeter::circle(&circle), (48.198, 24.6532), false);
        assert!(Perimeter::circle(&json!({ "latitude": 1, "longitude": 2 })).is_err());
        assert!(Perimeter::around(Point { latitude: 0.0, longitude: 0.0 }, 1.0, "LEAGUE").is_err());
    }

    #[test]
    fn polygons_have_holes() {
        let square = Perimeter::polygons(&json!([[0, 0], [0, 10], [10, 10], [10, 0]]));
        check(&square, (5.0, 5.0), true);
        check(&square, (5.0, 11.0), false);
        check(&square, (-1.0, 5.0), false);
        let holed = json!([[[0, 0], [0, 10], [10, 10], [10, 0]], [[4, 4], [4, 6], [6, 6], [6, 4]]]);
        check(&Perimeter::polygons(&holed), (5.0, 5.0), false);
        check(&Perimeter::polygons(&holed), (2.0, 2.0), true);
        for bad in [json!([]), json!([[0, 0], [1, 1]]), json!("x"), json!([[0, 0], [1, 1], ["a", 2]]), json!([[[]]])] {
            assert!(Perimeter::polygons(&bad).is_err(), "{bad}");
        }
    }
}
