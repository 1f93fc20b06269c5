//! Permissions in full, tokens that are misused, passwords and limits.

use std::net::IpAddr;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    access::{Operation, Passwords, Resource, Throttle, Tokens, allowed},
    clock,
    domain::{Authority, User},
    error::Error,
    random::random_text,
};

/// Every cell of the table: one row per authority and resource, one letter per operation in the order of `Operation::ALL`.
#[test]
fn the_table_of_permissions_is_this() {
    //  R read, C create, W write, D delete, A assign, r/w credentials, v/s values, k claim, x call
    let table = [
        (Authority::SysAdmin, Resource::Tenant, "RCWD---vs--"),
        (Authority::SysAdmin, Resource::TenantProfile, "RCWD-------"),
        (Authority::SysAdmin, Resource::Customer, "-----------"),
        (Authority::SysAdmin, Resource::User, "RCWD---vs--"),
        (Authority::SysAdmin, Resource::Device, "-----------"),
        (Authority::SysAdmin, Resource::DeviceProfile, "-----------"),
        (Authority::SysAdmin, Resource::RuleChain, "-----------"),
        (Authority::SysAdmin, Resource::Instance, "R----------"),
        (Authority::SysAdmin, Resource::AdminSettings, "R-W--------"),
        (Authority::SysAdmin, Resource::OtaPackage, "-----------"),
        (Authority::SysAdmin, Resource::AuditLog, "-----------"),
        (Authority::SysAdmin, Resource::Asset, "-----------"),
        (Authority::SysAdmin, Resource::AssetProfile, "-----------"),
        (Authority::SysAdmin, Resource::Relation, "-----------"),
        (Authority::TenantAdmin, Resource::Tenant, "R------vs--"),
        (Authority::TenantAdmin, Resource::TenantProfile, "R----------"),
        (Authority::TenantAdmin, Resource::Customer, "RCWD---vs--"),
        (Authority::TenantAdmin, Resource::User, "RCWD---vs--"),
        (Authority::TenantAdmin, Resource::Device, "RCWDArwvskx"),
        (Authority::TenantAdmin, Resource::DeviceProfile, "RCWD-------"),
        (Authority::TenantAdmin, Resource::RuleChain, "RCWD-------"),
        (Authority::TenantAdmin, Resource::Instance, "-----------"),
        (Authority::TenantAdmin, Resource::AdminSettings, "-----------"),
        (Authority::TenantAdmin, Resource::OtaPackage, "RCWD-------"),
        (Authority::TenantAdmin, Resource::AuditLog, "R----------"),
        (Authority::TenantAdmin, Resource::Asset, "RCWDA--vs--"),
        (Authority::TenantAdmin, Resource::AssetProfile, "RCWD-------"),
        (Authority::TenantAdmin, Resource::Relation, "R-WD-------"),
        (Authority::CustomerUser, Resource::Tenant, "-----------"),
        (Authority::CustomerUser, Resource::TenantProfile, "-----------"),
        (Authority::CustomerUser, Resource::Customer, "R------v---"),
        (Authority::CustomerUser, Resource::User, "R------vs--"),
        (Authority::CustomerUser, Resource::Device, "R----r-vskx"),
        (Authority::CustomerUser, Resource::DeviceProfile, "R----------"),
        (Authority::CustomerUser, Resource::RuleChain, "-----------"),
        (Authority::CustomerUser, Resource::Instance, "-----------"),
        (Authority::CustomerUser, Resource::AdminSettings, "-----------"),
        (Authority::CustomerUser, Resource::OtaPackage, "-----------"),
        (Authority::CustomerUser, Resource::AuditLog, "-----------"),
        (Authority::CustomerUser, Resource::Asset, "R------vs--"),
        (Authority::CustomerUser, Resource::AssetProfile, "R----------"),
        (Authority::CustomerUser, Resource::Relation, "R----------"),
    ];
    assert_eq!(table.len(), Authority::ALL.len() * Resource::ALL.len());
    for (authority, resource, expected) in table {
        let letters = Operation::ALL.iter().zip("RCWDArwvskx".chars());
        let found: String =
            letters.map(|(operation, letter)| if allowed(authority, resource, *operation) { letter } else { '-' }).collect();
        assert_eq!(found, expected, "{authority:?} on {resource:?}");
    }
}

const KEY: &[u8] = &[7; 64];

fn somebody() -> User {
    User {
        id: Uuid::now_v7(),
        created_ms: 0,
        version: 1,
        tenant: Some(Uuid::now_v7()),
        customer: None,
        email: "tenant@example.org".to_owned(),
        authority: Authority::TenantAdmin,
        first_name: None,
        last_name: None,
        phone: None,
        enabled: true,
        additional_info: Value::Null,
    }
}

#[test]
fn a_token_opens_what_it_was_made_for() {
    let (tokens, user, now) = (Tokens::new(KEY, 9000, 604_800), somebody(), clock::now_ms());
    let pair = tokens.issue(&user, now).unwrap();
    assert_eq!(tokens.check_access(&pair.token).unwrap().user_id().unwrap(), user.id);
    assert_eq!(tokens.check_refresh(&pair.refresh_token).unwrap().issued_s(), now / 1000);
    assert_ne!(tokens.issue(&user, now).unwrap().refresh_token, pair.refresh_token);
    let is_invalid = |outcome: Result<_, Error>| matches!(outcome, Err(Error::Unauthenticated("Invalid token")));
    assert!(is_invalid(tokens.check_access(&pair.refresh_token)), "a refresh token is no access token");
    assert!(is_invalid(tokens.check_refresh(&pair.token)), "an access token is no refresh token");
    assert!(is_invalid(Tokens::new(&[8; 64], 9000, 9000).check_access(&pair.token)), "another key");
    let broken: String = pair
        .token
        .char_indices()
        .map(|(at, letter)| {
            if at == 60 && letter == 'A' {
                'B'
            } else if at == 60 {
                'A'
            } else {
                letter
            }
        })
        .collect();
    let mut cut = pair.token.clone();
    cut.pop();
    for text in ["", ".", "a.b.c", &broken, &cut, &"x".repeat(9000)] {
        assert!(is_invalid(tokens.check_access(text)), "{text}");
    }
}

#[test]
fn claims_are_thingsboards() {
    let user = somebody();
    let pair = Tokens::new(KEY, 9000, 604_800).issue(&user, 1_700_000_000_000).unwrap();
    let header = jsonwebtoken::decode_header(&pair.token).unwrap();
    assert_eq!(header.alg, Algorithm::HS512);
    let claims: Value = jsonwebtoken::dangerous::insecure_decode::<Value>(&pair.token).unwrap().claims;
    assert_eq!(claims["sub"], "tenant@example.org");
    assert_eq!(claims["scopes"], json!(["TENANT_ADMIN"]));
    assert_eq!(claims["iss"], "thingsboard.io");
    assert_eq!(claims["tenantId"], json!(user.tenant));
    assert_eq!(claims["customerId"], "13814000-1dd2-11b2-8080-808080808080");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 9000);
    assert_eq!((&claims["enabled"], &claims["isPublic"]), (&json!(true), &json!(false)));
}

#[test]
fn a_token_ends_to_the_second() {
    let (tokens, user, now) = (Tokens::new(KEY, 10, 10), somebody(), clock::now_ms());
    assert!(tokens.check_access(&tokens.issue(&user, now).unwrap().token).is_ok());
    let old = tokens.issue(&user, now - 11_000).unwrap();
    assert!(matches!(tokens.check_access(&old.token), Err(Error::Expired)));
    assert!(matches!(tokens.check_refresh(&old.refresh_token), Err(Error::Expired)));
}

#[test]
fn only_hs512_by_us_counts() {
    let tokens = Tokens::new(KEY, 9000, 9000);
    let claims = json!({
        "sub": "a@b", "userId": Uuid::now_v7(), "scopes": ["SYS_ADMIN"], "sessionId": Uuid::now_v7(),
        "iss": "thingsboard.io", "iat": 0, "exp": 9_999_999_999_i64,
    });
    let sign = |algorithm, claims: &Value| encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(KEY)).unwrap();
    assert!(tokens.check_access(&sign(Algorithm::HS512, &claims)).is_ok());
    assert!(tokens.check_access(&sign(Algorithm::HS256, &claims)).is_err(), "a weaker algorithm");
    for (field, value) in [("iss", json!("someone")), ("exp", Value::Null), ("userId", json!(7)), ("scopes", Value::Null)] {
        let mut claims = claims.clone();
        claims[field] = value;
        assert!(tokens.check_access(&sign(Algorithm::HS512, &claims)).is_err(), "{field}");
    }
    // {"alg":"none","typ":"JWT"} with the same claims and no signature.
    let signed = sign(Algorithm::HS512, &claims);
    let payload = signed.split('.').nth(1).unwrap();
    assert!(tokens.check_access(&format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.")).is_err());
}

#[tokio::test]
async fn passwords_are_argon2id_and_nobody_has_none() {
    let passwords = Passwords::new();
    let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{hash}");
    assert!(passwords.verify("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
    assert!(!passwords.verify("wrong horse".to_owned(), Some(hash)).await.unwrap());
    assert!(!passwords.verify(String::new(), None).await.unwrap());
    assert!(!passwords.verify(String::new(), Some("garbage".to_owned())).await.unwrap());
    assert!(super::password::nobody_parses(), "an unknown name must cost a real hash");
}

#[test]
fn attempts_are_limited_per_name_and_address() {
    let throttle = Throttle::new();
    let (here, there): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    for _ in 0..10 {
        throttle.admit("a@b", here).unwrap();
    }
    let refused = throttle.admit("a@b", here).unwrap_err();
    assert!(matches!(refused, Error::TooMany { retry_after_s: 1..=7 }), "{refused:?}");
    throttle.admit("a@b", there).unwrap();
    throttle.admit("c@d", here).unwrap();
    let flood = (0..100).filter(|number| throttle.admit(&format!("{number}@x"), there).is_ok()).count();
    assert!(flood < 60, "{flood} of 100 were let through at once");
}

#[test]
fn addresses_of_one_ipv6_network_are_one() {
    let throttle = Throttle::new();
    for number in 0..10 {
        throttle.admit("a@b", format!("2001:db8::{number}").parse().unwrap()).unwrap();
    }
    assert!(throttle.admit("a@b", "2001:db8::ffff".parse().unwrap()).is_err());
}

#[test]
fn random_text_is_letters_and_digits() {
    let text = random_text(20);
    assert_eq!(text.len(), 20);
    assert!(text.chars().all(|letter| letter.is_ascii_alphanumeric()));
    assert_ne!(text, random_text(20));
}
