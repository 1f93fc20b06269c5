//! TLS streams against rustls's own client: who is let in, what arrives, what is kept.

mod certificates;
mod cost;
mod fixture;
mod handshake;
mod traffic;

use proptest::prelude::*;

use super::harness;
use fixture::{Authority, client_config, server_config};
use rustls::version::{TLS12, TLS13};

/// At least 300 cases; more if PROPTEST_CASES says so. Each is a handshake.
fn cases() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig { cases: given.cases.max(300), failure_persistence: None, ..given }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn whatever_the_network_does_what_arrives_is_what_was_sent(
        script in proptest::collection::vec(any::<u8>(), 0..400),
        old in any::<bool>(),
        with_certificate in any::<bool>(),
    ) {
        let authority = Authority::new("root");
        let shown = with_certificate.then(|| authority.issue(|_| {}));
        let client = client_config(&authority, if old { &TLS12 } else { &TLS13 }, shown.as_ref());
        harness::any(&server_config(&authority), &client, &script);
    }
}
