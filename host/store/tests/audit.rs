//! Somebody edits copies of a database whose audit log is under a key that is not in it. Every edit must show, each as
//! what it is. Nothing here is random beyond the seed that a failure prints.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test every surprise is a panic"
)]

use std::collections::BTreeMap;

use portolan_domain::Timestamp;
use portolan_store::{
    audit::{
        Actor, AuditKey, Audits, Chain, Change, Checkpoint, Entry, Head, Tampering, acts, in_request,
        verify_against, verify_all,
    },
    sqlite::{SqliteStore, read_audit},
    tenant::{Tenant, Tenants},
};
use serde_json::json;

const KEY: AuditKey = AuditKey::new([3; 32]);
/// What somebody uses who does not know the key.
const GUESSED: AuditKey = AuditKey::new([4; 32]);
/// Two hundred of each kind. The figure in `docs/reliability.md` was made with 10,000.
const EDITS: u64 = 1_800;

/// A small generator (SplitMix64), so that a seed is all that a failure needs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap()
    }
}

/// A real store's chains: the host's, and two tenants' with some dozens of entries.
async fn chains() -> BTreeMap<String, Chain> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portolan.db");
    let store = SqliteStore::open(&file).unwrap();
    store.audit_unlock(KEY);
    let at = Timestamp::from_millis(1_700_000_000_000);
    for name in ["one", "two"] {
        let tenant = Tenant::new(name.to_owned(), at);
        store.tenant_create(tenant.clone()).await.unwrap();
        for number in 0..24 {
            in_request(async {
                acts(Actor { by: format!("key_{number}"), role: "tenant-admin".to_owned() });
                let change = Change::of_tenant(&tenant.id, "connection.update", format!("con_{number}"));
                store.audit_note(change.with(json!({ "number": number }))).await.unwrap();
            })
            .await;
        }
    }
    read_audit(&file).unwrap().chains
}

fn renumber(entries: &mut [Entry]) {
    (1..).zip(entries).for_each(|(number, entry)| entry.number = number);
}

/// Links and seals a chain anew from one entry on, under some key.
fn restamp(chain: &mut Chain, from: usize, key: &AuditKey) {
    let mut previous = from.checked_sub(1).map_or([0; 32], |index| chain.entries[index].mac);
    for entry in &mut chain.entries[from..] {
        entry.previous = previous;
        entry.mac = entry.mac_under(key);
        previous = entry.mac;
    }
    let count = chain.entries.len() as u64;
    let mut head = Head {
        chain: chain.entries[0].chain.clone(),
        count,
        mac: previous,
        removed: 0,
        removed_mac: [0; 32],
        seal: [0; 32],
    };
    head.seal = head.seal_under(key);
    chain.head = Some(head);
}

fn modify(entry: &mut Entry, dice: &mut Dice) {
    match dice.below(7) {
        0 => entry.at = Timestamp::from_millis(entry.at.as_millis() ^ (1 << dice.below(20))),
        1 => entry.by.push('x'),
        2 => entry.role = "tenant-viewer".to_owned(),
        3 => entry.action = "connection.read".to_owned(),
        4 => entry.subject.push('0'),
        5 => entry.detail = None,
        _ => entry.environment = Some("qa".to_owned()),
    }
}

/// Makes one edit, and says as what it may be told.
fn edit(chains: &mut BTreeMap<String, Chain>, kind: u64, dice: &mut Dice) -> &'static [Tampering] {
    let tenants: Vec<String> = chains.keys().filter(|name| name.starts_with("ten_")).cloned().collect();
    let name = &tenants[dice.below(2)];
    let other = chains[tenants.iter().find(|other| *other != name).unwrap()].clone();
    let chain = chains.get_mut(name).unwrap();
    let count = chain.entries.len();
    // Not the last one: what is missing at the end is another kind.
    let index = dice.below(count - 2) + 1;
    match kind {
        0 => {
            modify(&mut chain.entries[index], dice);
            &[Tampering::Modified]
        }
        1 => {
            chain.entries.remove(index);
            if dice.below(2) == 0 {
                renumber(&mut chain.entries);
            }
            &[Tampering::Deleted]
        }
        2 => {
            let mut entry = chain.entries[index].clone();
            entry.by = "key_nobody".to_owned();
            entry.previous = chain.entries[index - 1].mac;
            entry.mac = entry.mac_under(&GUESSED);
            chain.entries.insert(index, entry);
            renumber(&mut chain.entries);
            &[Tampering::Inserted]
        }
        3 => {
            let with = dice.below(count);
            if with == index {
                return edit(chains, kind, dice);
            }
            chain.entries.swap(index, with);
            renumber(&mut chain.entries);
            &[Tampering::Reordered]
        }
        4 => {
            let cut = dice.below(count - 1) + 1;
            chain.entries.truncate(cut);
            match dice.below(3) {
                0 => {}
                1 => chain.head = None,
                _ => {
                    let head = chain.head.as_mut().unwrap();
                    (head.count, head.mac) = (cut as u64, chain.entries[cut - 1].mac);
                    return &[Tampering::HeadForged];
                }
            }
            &[Tampering::Truncated]
        }
        5 => {
            chain.entries[index].subject = "con_other".to_owned();
            restamp(chain, index, &GUESSED);
            &[Tampering::Restamped]
        }
        6 => {
            chain.entries[index] = Entry { chain: name.clone(), ..other.entries[index].clone() };
            &[Tampering::OtherChains]
        }
        7 => {
            // Without a trace of the tenant's chain.
            chains.remove(&name.clone());
            &[Tampering::Truncated]
        }
        _ => {
            let head = chain.head.as_mut().unwrap();
            head.count += 1 + dice.below(3) as u64;
            head.seal = head.seal_under(&GUESSED);
            &[Tampering::HeadForged]
        }
    }
}

#[tokio::test]
async fn every_edit_of_a_database_shows_as_what_it_is() {
    let genuine = chains().await;
    verify_all(&genuine, &KEY).unwrap();
    let mut told = BTreeMap::<(u64, Tampering), u64>::new();
    for seed in 0..EDITS {
        let (mut chains, mut dice) = (genuine.clone(), Dice(seed));
        let kind = seed % 9;
        let wanted = edit(&mut chains, kind, &mut dice);
        let Err(fault) = verify_all(&chains, &KEY) else {
            panic!("seed {seed}: an edit of kind {kind} does not show")
        };
        assert!(wanted.contains(&fault.tampering), "seed {seed}, kind {kind}: {fault:?}, wanted {wanted:?}");
        *told.entry((kind, fault.tampering)).or_default() += 1;
    }
    assert_eq!(told.values().sum::<u64>(), EDITS);
}

#[tokio::test]
async fn only_a_checkpoint_shows_that_everything_is_an_older_copy() {
    let genuine = chains().await;
    let at = Timestamp::from_millis(1);
    let heads = genuine.values().filter_map(|chain| chain.head.as_ref());
    let checkpoints: Vec<Checkpoint> = heads.map(|head| Checkpoint::of(head, at, &KEY)).collect();
    verify_against(&genuine, &checkpoints, &KEY).unwrap();
    let name = genuine.keys().find(|name| name.starts_with("ten_")).unwrap().clone();
    let mut older = genuine.clone();
    // What the file was some entries ago: genuine in itself, for the head of then was sealed with the key.
    let chain = older.get_mut(&name).unwrap();
    chain.entries.truncate(10);
    let last = chain.entries[9].mac;
    let mut head =
        Head { chain: name.clone(), count: 10, mac: last, removed: 0, removed_mac: [0; 32], seal: [0; 32] };
    head.seal = head.seal_under(&KEY);
    chain.head = Some(head);
    verify_all(&older, &KEY).unwrap();
    let fault = verify_against(&older, &checkpoints, &KEY).unwrap_err();
    assert_eq!((fault.chain, fault.tampering), (name, Tampering::RolledBack));
    // A forged checkpoint proves nothing.
    let mut forged = checkpoints[0].clone();
    forged.count = 1;
    assert_eq!(verify_against(&genuine, &[forged], &KEY).unwrap_err().tampering, Tampering::HeadForged);
}
