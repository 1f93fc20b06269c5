//! The rules of single values, as data.

use crate::domain::{Invalid, PageLink, email, name, password, token};

fn check<T: std::fmt::Debug>(outcome: Result<T, Invalid>, expected: Result<(), &str>) {
    match (outcome, expected) {
        (Ok(_), Ok(())) => {}
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error} does not say {part}"),
        (outcome, expected) => panic!("{outcome:?} where {expected:?} was expected"),
    }
}

#[test]
fn values_are_accepted_or_named() {
    check(name("name", "  Thermometer  "), Ok(()));
    check(name("name", " "), Err("name: \" \" must not be empty"));
    check(name("title", &"x".repeat(255)), Ok(()));
    check(name("title", &"x".repeat(256)), Err("at most 255 bytes, has 256"));
    check(name("title", "a\nb"), Err("control characters"));
    check(email("email", "A@Example.org"), Ok(()));
    for address in ["a", "@b", "a@", "a@b@c", "a b@c"] {
        check(email("email", address), Err("must be an e-mail address"));
    }
    check(token("credentialsId", "A1_TEST_TOKEN"), Ok(()));
    check(token("credentialsId", ""), Err("1 to 32 characters, has 0"));
    check(token("credentialsId", &"t".repeat(33)), Err("has 33"));
    check(token("credentialsId", "a b"), Err("visible ASCII"));
    check(password("password", "sysadmin"), Ok(()));
    check(password("password", "short"), Err("6 to 72"));
    check(PageLink::new(0, 0), Err("pageSize"));
    check(PageLink::new(1001, 0), Err("pageSize"));
    check(PageLink::new(10, u64::MAX), Err("page:"));
    check(PageLink::new(10, 0).and_then(|link| link.sort(None, Some("UP"))), Err("sortOrder: \"UP\" must be ASC or DESC"));
}

#[test]
fn secrets_are_not_repeated_in_errors() {
    let error = token("credentialsId", &"s3cret".repeat(9)).expect_err("too long");
    assert!(!error.to_string().contains("s3cret"));
}

#[test]
fn email_is_lower_cased() {
    assert_eq!(email("email", "Tenant@ThingsBoard.org").as_deref(), Ok("tenant@thingsboard.org"));
}
