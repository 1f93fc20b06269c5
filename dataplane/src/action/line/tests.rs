//! A line over a pipe, with a broker that says what a test has it say, and a protocol of lines of text.

use std::sync::Arc;

use tokio::io::DuplexStream;

use super::*;
use crate::shard::{Event, Mailbox, Placement, Shards};

/// `call N` is answered by `yes N`, and `open` has to come before.
#[derive(Debug, Default)]
struct Lines {
    open: bool,
}

impl Speech for Lines {
    type Call = u64;

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"hello\n");
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn at_once_max(&self) -> usize {
        2
    }

    fn say(&mut self, call: u64, out: &mut Vec<u8>) -> Result<u64, Answered> {
        out.extend_from_slice(format!("call {call}\n").as_bytes());
        Ok(call)
    }

    fn hear(&mut self, bytes: &[u8], said: &mut Said) -> Result<usize, Over> {
        let mut heard = 0;
        while let Some(length) = bytes[heard..].iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&bytes[heard..heard + length]).unwrap();
            heard += length + 1;
            match line.split_once(' ') {
                Some(("yes", number)) => said.answers.push((number.parse().unwrap(), Answered::Done(Answer::default()))),
                None if line == "open" => self.open = true,
                None if line == "wrong" => return Err(Over::Refused("wrong".to_owned())),
                _ => panic!("{line}"),
            }
        }
        Ok(heard)
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"still here\n");
    }

    fn goodbye(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"goodbye\n");
    }
}

/// A line with as many calls, of which the first is what it was made for, and the broker's end of it.
struct Pipe {
    broker: DuplexStream,
    mailbox: Mailbox,
    calls: Option<mpsc::Sender<Waiting<u64>>>,
}

impl Pipe {
    async fn with(calls: u64) -> Self {
        let mailbox = Mailbox::new(Arc::new(|| {}));
        let shards = Shards::new(Placement::new(1), vec![mailbox.clone()]);
        let waiting = |call: u64| (call, Told { shards: shards.clone(), shard: 0, flight: call });
        let (near, broker) = tokio::io::duplex(1_024);
        let (sender, mut receiver) = mpsc::channel(16);
        for call in 2..=calls {
            sender.send(waiting(call)).await.unwrap();
        }
        let line = Line::new(Lines::default(), waiting(1));
        tokio::spawn(async move { line.converse(Box::new(near), &mut receiver, Duration::from_millis(200)).await });
        Self { broker, mailbox, calls: Some(sender) }
    }

    /// The broker reads this and nothing else.
    async fn reads(&mut self, expected: &str) {
        let mut read = vec![0; expected.len()];
        timeout(Duration::from_secs(10), self.broker.read_exact(&mut read)).await.expect("it is said").unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), expected);
        let more = timeout(Duration::from_millis(20), self.broker.read_u8()).await;
        assert!(!matches!(more, Ok(Ok(_))), "{more:?}");
    }

    async fn says(&mut self, said: &str) {
        self.broker.write_all(said.as_bytes()).await.unwrap();
    }

    /// What came of the next call of which that is known.
    async fn came(&self) -> (u64, String) {
        let came = timeout(Duration::from_secs(10), async {
            loop {
                if let Some(Event::CameOf { flight, answered }) = self.mailbox.take() {
                    return (flight, *answered);
                }
                sleep(Duration::from_millis(1)).await;
            }
        });
        let (flight, answered) = came.await.expect("it is told");
        let told = match answered {
            Answered::Done(_) => "done".to_owned(),
            Answered::Refused(reason, _) => format!("refused: {reason}"),
            Answered::Failed(reason, _) => format!("failed: {reason}"),
            Answered::Unreachable(reason) => format!("unreachable: {reason}"),
        };
        (flight, told)
    }
}

fn told(flight: u64, what: &str) -> (u64, String) {
    (flight, what.to_owned())
}

#[tokio::test]
async fn no_more_calls_are_made_than_may_be_unanswered() {
    let mut pipe = Pipe::with(3).await;
    pipe.reads("hello\n").await;
    pipe.says("open\n").await;
    pipe.reads("call 1\ncall 2\n").await;
    // In pieces, as networks have it.
    pipe.says("ye").await;
    pipe.says("s 2\nyes ").await;
    assert_eq!(pipe.came().await, told(2, "done"));
    pipe.reads("call 3\n").await;
    pipe.says("1\nyes 3\n").await;
    assert_eq!((pipe.came().await, pipe.came().await), (told(1, "done"), told(3, "done")));
    pipe.calls = None;
    pipe.reads("goodbye\n").await;
}

#[tokio::test]
async fn what_was_said_may_have_been_heard_when_the_broker_goes() {
    let mut pipe = Pipe::with(2).await;
    pipe.says("open\n").await;
    pipe.reads("hello\ncall 1\ncall 2\n").await;
    let (broker, _) = tokio::io::duplex(1);
    drop(std::mem::replace(&mut pipe.broker, broker));
    let mut came = [pipe.came().await, pipe.came().await];
    came.sort();
    assert_eq!(came, [told(1, "failed: the broker closed the connection"), told(2, "failed: the broker closed the connection")]);
}

#[tokio::test]
async fn a_broker_that_does_not_open_has_heard_nothing() {
    let mut silent = Pipe::with(1).await;
    silent.reads("hello\n").await;
    assert_eq!(silent.came().await, told(1, "unreachable: the broker does not answer"));
    let mut refusing = Pipe::with(1).await;
    refusing.says("wrong\n").await;
    assert_eq!(refusing.came().await, told(1, "refused: wrong"));
}
