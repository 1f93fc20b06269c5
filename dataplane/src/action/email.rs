//! E-mails, handed in over SMTP. One connection per e-mail; keeps none.

use std::time::Duration;

use lettre::message::{Mailbox, Mailboxes, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use schemas::chain::external::{MailSecurity, Mailer};

use crate::action::guard::{Unresolved, resolve};
use crate::owed::{Answer, Answered, Email};

/// Sends one e-mail. `key` becomes its Message-ID, by which a mailbox can tell that it has it already.
pub(super) async fn send(email: Email, key: &str, private: bool) -> Answered {
    let Some(mailer) = &email.mailer else {
        let reason = "the installation has no mail server: its administrator names one in the admin settings \"mail\"";
        return Answered::Refused(reason.to_owned(), Answer::default());
    };
    let message = match write(&email, mailer, key) {
        Ok(message) => message,
        Err(reason) => return Answered::Refused(reason, Answer::default()),
    };
    let Mailer { host, port, .. } = mailer;
    let address = match resolve(host, *port, private).await {
        Ok(addresses) => addresses.first().map(|address| address.ip().to_string()).unwrap_or_default(),
        Err(Unresolved::NotPublic(not_public)) => return Answered::Refused(not_public.to_string(), Answer::default()),
        Err(unknown) => return Answered::Unreachable(unknown.to_string()),
    };
    let transport = match transport(mailer, address) {
        Ok(transport) => transport,
        Err(error) => return Answered::Refused(error.to_string(), Answer::default()),
    };
    match transport.send(message).await {
        Ok(_) => Answered::Done(Answer::default()),
        Err(error) if error.is_permanent() => Answered::Refused(error.to_string(), Answer::default()),
        Err(error) if error.is_transient() || error.is_timeout() => Answered::Failed(error.to_string(), Answer::default()),
        Err(error) => Answered::Unreachable(error.to_string()),
    }
}

fn transport(mailer: &Mailer, address: String) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    let tls = match mailer.security {
        MailSecurity::None => Tls::None,
        MailSecurity::StartTls => Tls::Required(TlsParameters::new(mailer.host.clone())?),
        MailSecurity::Tls => Tls::Wrapper(TlsParameters::new(mailer.host.clone())?),
    };
    // "Dangerous" is that it takes no TLS unless told so, which it is.
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address)
        .port(mailer.port)
        .tls(tls)
        .hello_name(ClientId::Domain("tidegate".to_owned()))
        .timeout(Some(Duration::from_millis(mailer.timeout_ms.into())));
    if let Some((user, password)) = &mailer.user {
        builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
    }
    Ok(builder.build())
}

fn write(email: &Email, mailer: &Mailer, key: &str) -> Result<Message, String> {
    let list = |what: &str, text: &str| {
        let parsed: Result<Mailboxes, _> = text.parse();
        parsed.map_err(|error| format!("{what} {text:?}: {error}"))
    };
    let user = mailer.user.as_ref().map(|(user, _)| user.as_str()).filter(|user| user.contains('@'));
    let from = if email.from.trim().is_empty() { user.unwrap_or_default() } else { &email.from };
    let from: Mailbox = from.parse().map_err(|error| format!("from {from:?}: {error}"))?;
    let mut builder = Message::builder().message_id(Some(format!("<{key}@tidegate>"))).from(from).subject(&email.subject);
    for to in list("to", &email.to)? {
        builder = builder.to(to);
    }
    for cc in Some(&email.cc).filter(|cc| !cc.trim().is_empty()).map(|cc| list("cc", cc)).transpose()?.unwrap_or_default() {
        builder = builder.cc(cc);
    }
    for bcc in Some(&email.bcc).filter(|bcc| !bcc.trim().is_empty()).map(|bcc| list("bcc", bcc)).transpose()?.unwrap_or_default()
    {
        builder = builder.bcc(bcc);
    }
    let kind = if email.html { ContentType::TEXT_HTML } else { ContentType::TEXT_PLAIN };
    builder.header(kind).body(email.body.clone()).map_err(|error| error.to_string())
}
