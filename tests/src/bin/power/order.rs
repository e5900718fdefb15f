//! The order of the host's system calls, as strace sees them: no event is acknowledged before a flush of the database's
//! log has ended that began after the event was written there.
//!
//! The images of [`crate::loss`] prove that of the store; this proves it of the whole host, down to the bytes that leave
//! its socket. Only the flush of the thread that wrote an event counts: another's (copying the log makes one, too)
//! could have come between the event and the end of its transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use portolan::stage::{Host, StandIn, System, Tenant, TenantSetup};
use portolan_simulators::story::{demo_catalogue, demo_story};
use serde_json::{Value, json};

/// Senders at once, so that events share transactions.
const SENDERS: usize = 8;

/// How long strace may take to write its last line when the host has ended.
const LAST_LINE_WITHIN: Duration = Duration::from_secs(30);

/// Characters of an event's id after `evt_`.
const ID_CHARACTERS: usize = 26;

/// What is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// The host's program.
    pub(crate) program: PathBuf,
    /// Where the components lie.
    pub(crate) components: PathBuf,
    /// How many events are sent.
    pub(crate) events: usize,
    /// What the story follows from.
    pub(crate) seed: u64,
}

/// What a trace holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    /// Flushes of the log that succeeded.
    flushes: usize,
    /// Answers that acknowledge events.
    answers: usize,
    /// Events that were acknowledged before they were durable.
    early: Vec<String>,
}

/// True when no answer was early, and all of them were seen.
pub(crate) fn prove(scratch: &Path, look: &Look) -> anyhow::Result<bool> {
    let Some(strace) = strace() else {
        println!("order: SKIPPED, because it needs strace and the right to trace");
        return Ok(true);
    };
    std::fs::create_dir_all(scratch)?;
    let log = scratch.join("strace.log");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let acknowledged = runtime.block_on(record(scratch, &log, &strace, look))?;
    let lines = BufReader::new(std::fs::File::open(&log)?).lines();
    let mut trace = Trace::default();
    for line in lines {
        trace.line(&line?);
    }
    let order = trace.order;
    println!(
        "order: {} events acknowledged, {} such answers seen, {} flushes of the log  acknowledged before their flush {}",
        acknowledged,
        order.answers,
        order.flushes,
        order.early.len()
    );
    for event in order.early.iter().take(5) {
        println!("  {event} was acknowledged before it was durable");
    }
    // A judge that saw less than what happened has seen nothing.
    let saw_all = acknowledged > 0 && order.answers >= acknowledged;
    Ok(order.early.is_empty() && saw_all)
}

fn strace() -> Option<PathBuf> {
    let paths = ["/usr/bin/strace", "/usr/local/bin/strace"].map(PathBuf::from);
    let path = paths.into_iter().find(|path| path.exists())?;
    let works = Command::new(&path).args(["-qq", "-o", "/dev/null", "true"]).status().ok()?;
    works.success().then_some(path)
}

/// Has a traced host take events in and deliver some. How many it acknowledged.
async fn record(scratch: &Path, log: &Path, strace: &Path, look: &Look) -> anyhow::Result<usize> {
    let stripe = StandIn::start(&look.program, scratch, System::Stripe, None).await?;
    let erp = StandIn::start(&look.program, scratch, System::SagePro, None).await?;
    let mut host = Host::start(&look.program, &scratch.join("host"), "127.0.0.1:0", &[]).await?;
    stripe.seed(&demo_catalogue()).await?;
    let setup = TenantSetup::standard(&erp, &stripe, &look.components)?;
    let tenant = Tenant::set_up(&host.operator, &setup).await?;
    host.stop().await?;
    let calls = "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg";
    // Long enough for a page of the database and for an answer; -y tells files from sockets.
    let args = ["-D", "-f", "-q", "-y", "-s", "4200", "-e", calls, "-o"].map(str::to_owned);
    let args = args.into_iter().chain([log.display().to_string()]).collect();
    host.start_under(Some((strace.to_owned(), args)));
    host.start_again().await?;
    let story = demo_story("order", look.seed);
    let objects: Vec<Value> = story.iter().flat_map(|told| told.objects.clone()).collect();
    stripe.seed(&objects).await?;
    let told = story.into_iter().map(|told| told.event.into_bytes());
    let events: Vec<Vec<u8>> = told.chain((0..).map(unrouted)).take(look.events).collect();
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        let mine: Vec<_> = events.iter().skip(sender).step_by(SENDERS).cloned().collect();
        let tenant = tenant.clone();
        senders.spawn(async move {
            let mut acknowledged = 0;
            for event in mine {
                let (status, _) = tenant.webhook(&event).await?;
                acknowledged += usize::from(status.is_success());
            }
            anyhow::Ok(acknowledged)
        });
    }
    let mut acknowledged = 0;
    while let Some(sent) = senders.join_next().await {
        acknowledged += sent??;
    }
    let id = host.id().context("the host has ended")?;
    host.stop().await?;
    let written = async {
        // strace ends by itself, a moment after the host.
        while !last_line(log).is_ok_and(|last| is_the_end_of(&last, id)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LAST_LINE_WITHIN, written).await.context("strace does not end")?;
    Ok(acknowledged)
}

/// An event that no mapping serves.
fn unrouted(number: usize) -> Vec<u8> {
    json!({ "id": format!("evt_order{number}"), "object": "event", "type": "plan.created", "livemode": false,
            "data": { "object": { "id": format!("plan_{number}") } } })
    .to_string()
    .into_bytes()
}

fn last_line(log: &Path) -> std::io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(200)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let end = String::from_utf8_lossy(&end);
    Ok(end.trim_end().lines().last().unwrap_or_default().to_owned())
}

fn is_the_end_of(line: &str, process: u32) -> bool {
    thread_and_call(line)
        .is_some_and(|(thread, call)| thread == process.to_string() && call.starts_with("+++ exited"))
}

/// A line's parts: strace pads short ids with spaces.
fn thread_and_call(line: &str) -> Option<(&str, &str)> {
    let (thread, call) = line.split_once(' ')?;
    Some((thread, call.trim_start()))
}

/// Reads a trace line by line, in which calls of many threads begin and end.
#[derive(Debug, Default)]
struct Trace {
    order: Order,
    /// By thread: events that it wrote into the log and has not begun to flush.
    written: BTreeMap<String, Vec<String>>,
    /// By thread: events that the flush is for that it has begun.
    flushing: BTreeMap<String, Vec<String>>,
    /// Events that were seen in the log: only the first time counts, later ones are other rows of the same page.
    seen: BTreeSet<String>,
    durable: BTreeSet<String>,
}

impl Trace {
    fn line(&mut self, line: &str) {
        let Some((thread, call)) = thread_and_call(line) else { return };
        if let Some(ended) = call.strip_prefix("<... ") {
            if ended.starts_with("fdatasync") || ended.starts_with("fsync") {
                self.flush_ends(thread, call);
            }
            return;
        }
        let is_log = call.split_once('>').is_some_and(|(file, _)| file.ends_with("portolan.db-wal"));
        if call.starts_with("pwrite64(") && is_log {
            for event in events_in(call) {
                if self.seen.insert(event.clone()) {
                    self.written.entry(thread.to_owned()).or_default().push(event);
                }
            }
        } else if (call.starts_with("fdatasync(") || call.starts_with("fsync(")) && is_log {
            let written = self.written.remove(thread).unwrap_or_default();
            self.flushing.insert(thread.to_owned(), written);
            if !call.ends_with("<unfinished ...>") {
                self.flush_ends(thread, call);
            }
        } else if call.contains("\"HTTP/1.1 200 ") {
            let acknowledged = events_in(call);
            self.order.answers += usize::from(!acknowledged.is_empty());
            self.order.early.extend(acknowledged.into_iter().filter(|event| !self.durable.contains(event)));
        }
    }

    fn flush_ends(&mut self, thread: &str, call: &str) {
        // Of another file, if this thread has begun none of the log.
        let Some(flushed) = self.flushing.remove(thread) else { return };
        if call.trim_end().ends_with("= 0") {
            self.order.flushes += 1;
            self.durable.extend(flushed);
        } else {
            self.written.entry(thread.to_owned()).or_default().extend(flushed);
        }
    }
}

/// The ids of our events in a call's bytes.
fn events_in(call: &str) -> Vec<String> {
    let ids = call.match_indices("evt_").filter_map(|(at, _)| call.get(at..at + 4 + ID_CHARACTERS));
    let is_id = |id: &&str| {
        id.chars().skip(4).all(|character| character.is_ascii_digit() || character.is_ascii_uppercase())
    };
    ids.filter(is_id).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "evt_01JDZZZZZZZZZZZZZZZZZZZZZZ";

    fn order(lines: &[String]) -> Order {
        let mut trace = Trace::default();
        lines.iter().for_each(|line| trace.line(line));
        trace.order
    }

    fn write() -> String {
        format!("7 pwrite64(5</d/portolan.db-wal>, \"\\0\\1{ID}sub_1\", 4096, 32) = 4096")
    }

    fn answer() -> String {
        format!(
            "9 sendto(8<TCP:[1]>, \"HTTP/1.1 200 OK\\r\\n\\r\\n{{\\\"event\\\":\\\"{ID}\\\"}}\", 9, 0) = 9"
        )
    }

    #[test]
    fn the_end_of_a_process_is_seen_however_short_its_id_is() {
        assert!(is_the_end_of("12904 +++ exited with 0 +++", 12904));
        assert!(is_the_end_of("2904  +++ exited with 0 +++", 2904));
        assert!(!is_the_end_of("2904  +++ exited with 0 +++", 290));
        assert!(!is_the_end_of("2904  write(1</d/log>, \"+++ exited\", 10) = 10", 2904));
        assert!(!is_the_end_of("", 2904));
    }

    #[test]
    fn an_answer_after_its_flush_is_in_order_and_any_other_is_not() {
        let begun = "7 fdatasync(5</d/portolan.db-wal> <unfinished ...>".to_owned();
        let ended = |status: &str| format!("7 <... fdatasync resumed>) = {status}");
        let whole = |thread: u8, file: &str| format!("{thread} fdatasync(5</d/{file}>) = 0");
        let log = "portolan.db-wal";
        let good = [
            vec![write(), begun.clone(), ended("0"), answer()],
            vec![write(), whole(7, log), answer()],
            vec![write(), whole(7, log), write(), answer()],
        ];
        for lines in good {
            assert_eq!(order(&lines), Order { flushes: 1, answers: 1, early: Vec::new() }, "{lines:?}");
        }
        let bad = [
            vec![answer()],
            vec![answer(), write(), whole(7, log)],
            vec![write(), answer(), whole(7, log)],
            vec![begun.clone(), write(), ended("0"), answer()],
            vec![write(), begun.clone(), answer(), ended("0")],
            vec![write(), begun, ended("-1 EIO (Input/output error) (INJECTED)"), answer()],
            vec![write(), whole(3, log), answer()],
            vec![write(), whole(7, "portolan.db"), answer()],
        ];
        for lines in bad {
            assert_eq!(order(&lines).early, [ID], "{lines:?}");
        }
    }
}
