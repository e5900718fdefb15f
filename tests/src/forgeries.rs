//! Forged requests, made from genuine ones, held against the code that believes senders. None may be believed.
//!
//! Each forgery is one change of a genuine request: a byte, a structure, a secret, a time. What is still genuine after its
//! change (a judge of our own says so, who knows the schemes and not the host's code) is not counted.

use http::{HeaderMap, HeaderName, HeaderValue};
use portolan::stage::sign;
use portolan_domain::Secret;
use portolan_pipeline::senders::{Auth, Proof, Sender, told};

use crate::dice::Dice;

/// The time of all requests.
const NOW_S: u64 = 1_795_169_700;
const TOLERANCE_S: u64 = 300;
const SECRETS: [&str; 2] = ["whsec_the_new_one_0123456789", "whsec_the_old_one_0123456789"];
const PAIR: &str = "SAPHTTP:a-long-password";
const PAIR_BASE64: &str = "U0FQSFRUUDphLWxvbmctcGFzc3dvcmQ=";
const BODY: &[u8] = br#"{"id":"evt_1","object":"event","type":"charge.succeeded","data":{"object":{"id":"ch_1","amount":1099}}}"#;

/// What came of many forgeries.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were no longer genuine.
    pub forged: usize,
    /// Of these, those that were believed. The request that replays it: sender, headers, body.
    pub believed: Vec<String>,
    /// Changes that left a request genuine.
    pub genuine: usize,
    /// Of these, those that were not believed.
    pub genuine_refused: usize,
}

/// A request as far as it matters.
#[derive(Debug, Clone)]
struct Letter {
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

/// Who is written to, and how it believes.
const RECEIVERS: [(Sender, Auth, &str); 6] = [
    (Sender::Stripe, Auth::Signature, "stripe-signature"),
    (Sender::Epicor, Auth::Signature, "x-signature"),
    (Sender::SagePro, Auth::Signature, "x-signature"),
    (Sender::Epicor, Auth::Bearer, "authorization"),
    (Sender::SapEcc, Auth::Basic, "authorization"),
    (Sender::SapEcc, Auth::ClientCertificate, "x-client-fingerprint"),
];

fn fingerprint() -> String {
    "5f".repeat(32)
}

fn genuine(auth: Auth, header: &'static str, dice: &mut Dice) -> Letter {
    let secret = SECRETS[dice.below(2)];
    let at = NOW_S - 300 + u64::try_from(dice.below(601)).unwrap_or(0);
    let value = match auth {
        Auth::Signature => sign(secret, at, BODY),
        Auth::Bearer => format!("Bearer {secret}"),
        Auth::Basic => format!("Basic {PAIR_BASE64}"),
        Auth::ClientCertificate => fingerprint(),
    };
    Letter { headers: vec![(header, value.into_bytes())], body: BODY.to_vec() }
}

/// Whether the request proves who sends it, said by someone who knows the scheme only.
fn is_genuine(auth: Auth, header: &str, letter: &Letter) -> bool {
    let values: Vec<&[u8]> = letter
        .headers
        .iter()
        .filter(|(name, _)| *name == header)
        .map(|(_, value)| value.as_slice())
        .collect();
    let [value] = values.as_slice() else { return false };
    let Ok(text) = std::str::from_utf8(value) else { return false };
    // HTTP itself cuts room around a value off.
    let text = text.trim_matches([' ', '\t']);
    let login = |scheme: &str| {
        text.get(..scheme.len())
            .filter(|begin| begin.eq_ignore_ascii_case(scheme))
            .and_then(|_| text.get(scheme.len()..))
    };
    match auth {
        Auth::Signature => {
            let times: Vec<&str> = text.split(',').filter_map(|part| part.strip_prefix("t=")).collect();
            let [time] = times.as_slice() else { return false };
            let Ok(at) = time.parse::<u64>() else { return false };
            let right = |secret: &&str| {
                let signed = sign(secret, at, &letter.body);
                let signature = signed.split_once(',').map_or("", |(_, signature)| signature);
                format!("t={time},{signature}") == signed && text.split(',').any(|part| part == signature)
            };
            at.abs_diff(NOW_S) <= TOLERANCE_S && SECRETS.iter().any(right)
        }
        Auth::Bearer => login("Bearer ").is_some_and(|token| SECRETS.contains(&token.trim())),
        Auth::Basic => login("Basic ").is_some_and(|pair| pair.trim() == PAIR_BASE64),
        Auth::ClientCertificate => {
            let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
            digits.to_ascii_lowercase() == fingerprint()
        }
    }
}

fn flip(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(bytes.len());
    match (dice.below(4), bytes.get_mut(at)) {
        (0, Some(byte)) => *byte ^= 1 << dice.below(8),
        (1, Some(byte)) => *byte = dice.byte(),
        (2, Some(_)) => drop(bytes.remove(at)),
        _ => bytes.insert(
            at,
            *[b' ', b',', b'=', b'0', b'v', b't', dice.byte()].get(dice.below(7)).unwrap_or(&b' '),
        ),
    }
}

/// One change of a genuine request.
fn forge(letter: &mut Letter, header: &'static str, dice: &mut Dice) {
    let others = ["stripe-signature", "x-signature", "authorization", "x-client-fingerprint", "cookie"];
    match dice.below(16) {
        0..=3 => flip(&mut letter.headers[0].1, dice),
        4..=6 => flip(&mut letter.body, dice),
        7 => {
            let value = letter.headers[0].1.clone();
            letter.headers.push((header, value));
        }
        8 => {
            let signed = sign("", NOW_S, &letter.body).into_bytes();
            letter.headers.insert(0, (header, signed));
        }
        9 => letter.headers.clear(),
        10 => letter.headers[0].0 = others[dice.below(others.len())],
        11 => {
            let room = [" ", "\t", "  ", "\u{a0}"][dice.below(4)];
            let value = &mut letter.headers[0].1;
            let place = dice.below(value.len());
            drop(value.splice(place..place, room.bytes()));
        }
        _ => letter.headers[0].1 = forged_value(&letter.body, dice).into_bytes(),
    }
}

/// The value of a header that proves nothing for this body.
fn forged_value(body: &[u8], dice: &mut Dice) -> String {
    let at = NOW_S + u64::try_from(dice.below(600)).unwrap_or(0) - 300;
    let signed = sign(SECRETS[dice.below(2)], at, body);
    let pick = |texts: &[&str], dice: &mut Dice| texts[dice.below(texts.len())].to_owned();
    match dice.below(9) {
        0 => {
            let wrong = [
                "",
                "whsec_",
                "the_new_one_0123456789",
                "whsec_the_new_one_0123456789\n",
                "WHSEC_THE_NEW_ONE_0123456789",
            ];
            sign(wrong[dice.below(wrong.len())], at, body)
        }
        1 => sign(SECRETS[0], NOW_S - 301 - dice.next() % NOW_S.isqrt(), body),
        2 => sign(SECRETS[0], NOW_S + 301 + dice.next() % 1_000_000, body),
        3 => sign(SECRETS[0], at, b"another body"),
        4 => {
            let scheme = pick(&["v0=", "v2=", "V1=", "v1 =", " v1=", "v1=0x", "v1=sha256="], dice);
            signed.replace("v1=", &scheme)
        }
        5 => signed.to_uppercase().replace("T=", "t=").replace("V1=", "v1="),
        6 => {
            let again = [
                format!("t={},{signed}", at + 1),
                format!("{signed},t={at}"),
                signed[..dice.below(signed.len())].to_owned(),
            ];
            let time = pick(&["t=0", "t=+", "t= ", "t=-"], dice);
            again.get(dice.below(4)).cloned().unwrap_or_else(|| signed.replace("t=", &time))
        }
        7 => {
            let mut random = || format!("{:016x}", dice.next());
            let many: String =
                (0..200).map(|_| format!(",v1={}{}{}{}", random(), random(), random(), random())).collect();
            format!("t={at}{many}")
        }
        _ => pick(
            &[
                "",
                "t=,v1=",
                "null",
                "Bearer ",
                "Basic ",
                "Basic Og==",
                "Bearer whsec_",
                "Basic U0FQSFRUUDo=",
                "Digest x",
            ],
            dice,
        ),
    }
}

fn believed((sender, auth): (Sender, Auth), letter: &Letter) -> Option<bool> {
    let mut headers = HeaderMap::new();
    for (name, value) in &letter.headers {
        // What cannot be a header never reaches the host's code, nor does the room around a value (RFC 9110, 5.5).
        let value = HeaderValue::from_bytes(value.trim_ascii()).ok()?;
        headers.append(HeaderName::from_static(name), value);
    }
    let secrets: Vec<Secret> =
        if auth == Auth::Basic { vec![Secret::new(PAIR)] } else { SECRETS.map(Secret::new).to_vec() };
    let secrets: Vec<&Secret> = secrets.iter().collect();
    let (certificates, name) = ([fingerprint()], HeaderName::from_static("x-client-fingerprint"));
    let proof = Proof {
        auth,
        secrets: &secrets,
        certificates: &certificates,
        certificate_header: Some(&name),
        now_s: NOW_S,
        tolerance_s: TOLERANCE_S,
    };
    let verified = sender.verify(&proof, &headers, &letter.body);
    if let Err(problem) = verified {
        // Whatever is wrong, telling it must not fail either.
        let _told = told(&headers, problem);
    }
    Some(verified.is_ok())
}

/// Makes this many forgeries from a seed and holds each against the host's code.
#[must_use]
pub fn forgeries(wanted: usize, seed: u64) -> Tally {
    let (mut dice, mut tally) = (Dice::new(seed), Tally::default());
    while tally.forged < wanted {
        let (sender, auth, header) = RECEIVERS[dice.below(RECEIVERS.len())];
        let mut letter = genuine(auth, header, &mut dice);
        assert_eq!(
            believed((sender, auth), &letter),
            Some(true),
            "a genuine request of {sender:?}: {letter:?}"
        );
        for _ in 0..=dice.below(3) {
            if letter.headers.len() == 1 {
                forge(&mut letter, header, &mut dice);
            }
        }
        let genuine = is_genuine(auth, header, &letter);
        match (genuine, believed((sender, auth), &letter)) {
            (true, Some(true)) => tally.genuine += 1,
            (true, Some(false)) => {
                tally.genuine += 1;
                tally.genuine_refused += 1;
            }
            (false, Some(believed)) => {
                tally.forged += 1;
                if believed {
                    tally.believed.push(format!("{sender:?} {auth:?} {letter:?}"));
                }
            }
            (_, None) => {}
        }
    }
    tally
}
