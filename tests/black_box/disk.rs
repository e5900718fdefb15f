//! The host on a disk that is nearly full, full, failing, or was torn: what senders and operators see of it, and that
//! nothing that was acknowledged is lost.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use portolan::stage::{SIGNING_SECRET, System, signed_headers};
use portolan_tests::{World, accept, portolan, until};
use serde_json::{Value, json};

/// What is asked of an answer here.
#[derive(Debug)]
struct Answer {
    status: u16,
    retry_after: Option<String>,
    body: String,
}

/// One exchange on a connection of its own, with what the stage's client does not show.
async fn ask(world: &World, path: &str, hook: Option<&[u8]>) -> Answer {
    #[expect(clippy::disallowed_methods, reason = "a sender, not the host")]
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{path}", world.host.operator.base());
    let request = match hook {
        Some(body) => {
            let headers = signed_headers(SIGNING_SECRET, body);
            headers.into_iter().fold(http.post(url).body(body.to_vec()), |request, (name, value)| {
                request.header(name, value)
            })
        }
        None => http.get(url),
    };
    let response = request.send().await.unwrap();
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    Answer { status: response.status().as_u16(), retry_after, body: response.text().await.unwrap() }
}

async fn send(world: &World, body: &[u8]) -> Answer {
    ask(world, &world.tenant.hook, Some(body)).await
}

impl Answer {
    fn is_refusal(&self, code: &str) -> bool {
        let problem: Value = serde_json::from_str(&self.body).unwrap_or_default();
        self.status == 503 && self.retry_after.is_some() && problem["code"] == json!(code)
    }

    fn event(&self) -> Option<String> {
        let answer: Value = serde_json::from_str(&self.body).unwrap();
        (self.status == 200).then(|| answer["event"].as_str().unwrap().to_owned())
    }
}

/// An event that no mapping serves, as large as wished.
fn bulky(number: usize, bytes: usize) -> Vec<u8> {
    json!({ "id": format!("evt_bulky{number}"), "object": "event", "type": "plan.created", "livemode": false,
            "data": { "object": { "id": format!("plan_{number}"), "name": "x".repeat(bytes) } } })
    .to_string()
    .into_bytes()
}

async fn metric(world: &World, name: &str) -> Option<f64> {
    let text = ask(world, "/metrics", None).await.body;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[tokio::test]
async fn below_the_low_water_mark_nothing_new_is_taken_in_and_what_was_goes_on() {
    const MARK: &str = "PORTOLAN_STORAGE__FREE_MIB_MIN";
    let mut world = World::with(System::SagePro, None, &[(MARK, "0")]).await;
    let story = world.story("low").await;
    // Accepted, and then the host dies before it is delivered, or after: the next one goes on with it in any case.
    let before = world.accept(&story[0]).await;
    world.host.kill().await.unwrap();
    // More than any disk has.
    world.host.set(MARK, Some("1000000000000"));
    world.host.start_again().await.unwrap();

    let refused = send(&world, story[1].event.as_bytes()).await;
    assert!(refused.is_refusal("storage-low"), "{refused:?}");
    let ready = ask(&world, "/readyz", None).await;
    assert!(ready.is_refusal("storage-low") && ready.body.contains("storage.free_mib_min"), "{ready:?}");
    assert_eq!(ask(&world, "/healthz", None).await.status, 200);
    assert!(metric(&world, "portolan_storage_free_bytes").await.unwrap() > 0.0);
    let upload = world.tenant.client.exchange(
        reqwest::Method::POST,
        "/api/v1/modules",
        Some(("application/wasm", b"anything".to_vec())),
        &[],
    );
    assert_eq!(upload.await.unwrap().1["code"], json!("storage-low"));
    let backup = world.host.operator.post("/api/v1/backup", &json!({})).await.unwrap_err();
    assert!(backup.to_string().contains("storage-low"), "{backup}");
    let log = std::fs::read_to_string(world.host.log().unwrap()).unwrap();
    assert_eq!(log.matches("storage is low").count(), 1, "told once");
    assert_eq!(world.end_of(&before).await["standing"], "delivered");
    assert_eq!(world.tenant.get("/events").await.unwrap()["items"].as_array().unwrap().len(), 1);

    world.host.kill().await.unwrap();
    world.host.set(MARK, Some("0"));
    world.host.start_again().await.unwrap();
    let after = world.accept(&story[1]).await;
    assert_eq!(world.end_of(&after).await["standing"], "delivered");
    assert_eq!(ask(&world, "/readyz", None).await.status, 200);
    world.assert_posted_once(2).await;
}

/// A small disk in memory. Unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None when this user may not mount.
    fn mount(at: &Path, mib: u32) -> Option<Self> {
        let size = format!("size={mib}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "portolan-test"]).arg(at).output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self(at.to_owned()))
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.0.join("ballast")).unwrap();
        for bytes in [1 << 20, 4096, 1] {
            let zeros = vec![0; bytes];
            while ballast.write_all(&zeros).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The host's files may still be open.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests should know what was not looked at")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_the_host_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("host");
    std::fs::create_dir(&data).unwrap();
    // The log is on it, too: what cannot be logged must hurt nobody.
    let Some(disk) = SmallDisk::mount(&data, 128) else {
        return skipped("a full disk needs the right to mount a tmpfs");
    };
    let world =
        World::in_folder(folder, System::SagePro, None, &[("PORTOLAN_STORAGE__FREE_MIB_MIN", "0")]).await;
    let story = world.story("full").await;
    let mut acknowledged = vec![world.accept(&story[0]).await];
    disk.fill();
    // What fits into the room that the database has already is taken; then everything is refused.
    let mut bulk = Vec::new();
    for number in 0.. {
        assert!(number < 2_000, "the disk never was full");
        let answer = send(&world, &bulky(number, 200_000)).await;
        match answer.event() {
            Some(event) => bulk.push(event),
            None => {
                assert!(answer.is_refusal("unavailable"), "{answer:?}");
                break;
            }
        }
    }
    let mut refused = 0;
    for told in story.iter().skip(1) {
        let answer = send(&world, told.event.as_bytes()).await;
        match answer.event() {
            Some(event) => acknowledged.push(event),
            None => {
                assert!(answer.is_refusal("unavailable"), "{answer:?}");
                refused += 1;
            }
        }
    }
    disk.make_room();
    for told in &story {
        let event = until("room", async || send(&world, told.event.as_bytes()).await.event()).await;
        acknowledged.push(event);
    }
    for event in &acknowledged {
        let stands = world.end_of(event).await;
        assert_eq!(
            stands["standing"],
            "delivered",
            "{refused} refused: {}",
            portolan_tests::told_of(&stands)
        );
    }
    for event in &bulk {
        assert_eq!(world.end_of(event).await["standing"], "unrouted");
    }
    assert_eq!(ask(&world, "/readyz", None).await.status, 200);
    world.assert_posted_once(story.len()).await;
}

/// strace on a running host, that has every flush fail. It lets go when told.
struct Failing(Child);

impl Failing {
    /// None when there is no strace that may do it.
    fn begin(host: u32, folder: &Path) -> Option<Self> {
        let told = folder.join("strace.told");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &host.to_string(), "-e", "trace=fsync,fdatasync"]);
        strace.args(["-e", "inject=fsync,fdatasync:error=EIO", "-o"]).arg(folder.join("strace.log"));
        let strace = strace.stdin(Stdio::null()).stderr(std::fs::File::create(&told).unwrap());
        let mut strace = strace.spawn().ok()?;
        loop {
            // "attached" is told when it has all of the host's threads.
            if std::fs::read_to_string(&told).unwrap().contains("attached") {
                return Some(Self(strace));
            }
            if strace.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn end(mut self) {
        let asked = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap();
        assert!(asked.success());
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn while_no_flush_reaches_the_disk_nothing_is_acknowledged_and_operators_see_it() {
    let world = World::of(System::SagePro).await;
    let story = world.story("failing").await;
    let first = world.accept(&story[0]).await;
    world.end_of(&first).await;
    let Some(failing) = Failing::begin(world.host.id().unwrap(), world.folder.path()) else {
        return skipped("a failing disk needs strace, and the right to trace");
    };
    // The first one again would be no news: what is durable may be said.
    for told in story.iter().skip(1).take(3) {
        let refused = send(&world, told.event.as_bytes()).await;
        assert!(refused.is_refusal("unavailable"), "{refused:?}");
    }
    let ready = ask(&world, "/readyz", None).await;
    assert!(ready.is_refusal("unavailable"), "{ready:?}");
    assert_eq!(metric(&world, "portolan_store_writable").await, Some(0.0));
    assert_eq!(ask(&world, "/healthz", None).await.status, 200);
    failing.end();
    // By itself: nobody starts it again.
    for told in story.iter().take(4) {
        let event =
            until("a flush that succeeds", async || send(&world, told.event.as_bytes()).await.event()).await;
        assert_eq!(world.end_of(&event).await["standing"], "delivered");
    }
    assert_eq!(ask(&world, "/readyz", None).await.status, 200);
    assert_eq!(metric(&world, "portolan_store_writable").await, Some(1.0));
    world.assert_posted_once(4).await;
}

/// What a host says that does not start on this data folder.
fn refusal(data: &Path) -> String {
    let config = data.join("portolan.toml");
    let mut host = Command::new(portolan());
    host.arg("serve").arg("--config").arg(&config).env("PORTOLAN_DATA_DIR", data);
    let ended = host.env("PORTOLAN_LISTEN", "127.0.0.1:0").output().unwrap();
    assert!(!ended.status.success());
    String::from_utf8(ended.stderr).unwrap()
}

#[tokio::test]
async fn half_a_master_key_and_none_are_told_with_the_remedy_and_nothing_is_written_over() {
    let mut world = World::of(System::SagePro).await;
    world.host.kill().await.unwrap();
    let data = world.folder.path().join("host");
    let file = data.join("master.key");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..31]).unwrap();
    let told = refusal(&data);
    assert!(told.contains("master.key") && told.contains("put the copy in its place"), "{told}");
    assert_eq!(std::fs::read(&file).unwrap(), &whole[..31]);
    std::fs::remove_file(&file).unwrap();
    let told = refusal(&data);
    assert!(told.contains("master.key") && told.contains("put the copy in its place"), "{told}");
    assert!(!file.exists(), "no other key stands where the right one belongs");
    std::fs::write(&file, &whole).unwrap();
    world.host.start_again().await.unwrap();
    accept(&world.tenant, &bulky(1, 10)).await;
}
