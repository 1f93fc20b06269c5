//! What one device was refused, counted by reason since its state was loaded, for the Standing query. Never logs.

macro_rules! reasons {
    ($($variant:ident => $name:literal, $help:literal;)+) => {
        /// Why something of a device was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Reason { $(#[doc = $help] $variant,)+ }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name over REST; never changes.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

reasons! {
    DeviceRate => "device_rate", "more than its own rate limit";
    TenantRate => "tenant_rate", "more than its tenant's rate limit";
    Connections => "connections", "a connection beyond a limit";
    Login => "login", "a login refused without a look: too many failed";
    Payload => "payload", "a payload that does not mean anything";
    Timestamp => "timestamp", "a ts outside the accepted range";
    Topic => "topic", "a topic or path that is not the device's";
    PacketSize => "packet_size", "a packet or body above the bound";
    ReceiveMaximum => "receive_maximum", "more unacknowledged publishes than it was granted";
    Quota => "quota", "more keys, children or state than the platform keeps of one device";
    Forbidden => "forbidden", "what this device may not do";
    NotFound => "not_found", "what does not exist";
    Unavailable => "unavailable", "what could not be served at the time";
}

const REASONS: usize = Reason::ALL.len();

/// Counts by reason; most devices have none, and pay eight bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(Option<Box<[u32; REASONS]>>);

impl Refusals {
    /// Counts one more; stays at `u32::MAX`.
    pub fn count(&mut self, reason: Reason) {
        let counts = self.0.get_or_insert_with(|| Box::new([0; REASONS]));
        if let Some(count) = counts.get_mut(reason as usize) {
            *count = count.saturating_add(1);
        }
    }

    #[must_use]
    pub fn of(&self, reason: Reason) -> u32 {
        self.0.as_ref().and_then(|counts| counts.get(reason as usize)).copied().unwrap_or(0)
    }

    /// Names and counts of what was refused at all, in the order of [`Reason::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        Reason::ALL.iter().map(|reason| (reason.name(), self.of(*reason))).filter(|(_, count)| *count > 0)
    }
}

impl From<super::Limit> for Reason {
    fn from(limit: super::Limit) -> Self {
        match limit {
            super::Limit::Device => Self::DeviceRate,
            super::Limit::Tenant => Self::TenantRate,
        }
    }
}
