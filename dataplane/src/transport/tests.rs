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

/// At least 300 cases; more if PROPTEST_CASES says so, but not as many as of others: each is a handshake.
fn cases() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig { cases: given.cases.clamp(300, 3_000), failure_persistence: None, ..given }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_network_loses_nothing_and_invents_nothing(
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
