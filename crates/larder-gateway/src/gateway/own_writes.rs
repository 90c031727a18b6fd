//! Own writes: whoever has changed something sees it at once (read-your-writes), without a way to have anything fetched for others.
//!
//! The answer to a request that may have changed something carries a *fence*: which process has answered, and the how manyth
//! of its writes that was, sealed under a secret of the gateways. Who sends it back is answered only from what the service
//! was asked for after that write.
//!
//! ```text
//! gateway A   write 7 answered ─ fence A 7 ─▶ reader        remembers: A 7 was over at a1
//! gateway A   ◀─ reads with A 7                              only what was asked for since a1
//! gateway B   ◀─ reads with A 7, the first time at b1        only what was asked for since b1
//! gateway B   ◀─ reads with A 6 or A 7, later                only what was asked for since b1: A 6 was over before A 7
//! ```
//!
//! No gateway has to know how far another is, and no two clocks have to agree: a fence is there only after its write, so
//! what a gateway asks for once it has seen the fence is younger. What is remembered may be forgotten at any time: the
//! fence then counts as seen for the first time, which costs a fetch.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use larder::http::NotBefore;

/// The field of a fence, and its name among cookies.
pub(super) const LARDER_FENCE: HeaderName = HeaderName::from_static("larder-fence");
const COOKIE_NAME: &str = "Larder-Fence";
/// What the text is for, so that nothing else that is sealed under the same secret is one.
const PURPOSE: &str = "larder 2026-11 fence of a write";
/// A request's further ones are passed over: a browser sends one.
const MOST_FENCES: usize = 4;
/// Of so many processes it is remembered when which of their writes were over.
const MOST_PROCESSES: usize = 64;
/// So many points are kept of each; ...
const MOST_POINTS: usize = 1024;
/// ... writes within such a time share one.
const POINT: Duration = Duration::from_millis(20);
/// Clocks of gateways may differ by so much before one takes another's fences for expired.
const SKEW: Duration = Duration::from_secs(30);

const NUMBERS: usize = 3 * size_of::<u64>();
const SEALED: usize = NUMBERS + blake3::OUT_LEN;

/// How the gateways of a site seal fences. All of them have the same.
#[derive(Clone, PartialEq, Eq)]
pub struct ReadYourWrites {
    key: [u8; blake3::KEY_LEN],
    lifetime: Duration,
}

impl fmt::Debug for ReadYourWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadYourWrites").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl ReadYourWrites {
    /// A fence is good for no longer: within that time all caches that are told of purges have been.
    pub const LONGEST: Duration = Duration::from_secs(10);

    /// Fences are sealed under `secret`, and are good for `lifetime`: whole seconds, from 1 to
    /// [`LONGEST`](Self::LONGEST); what is outside of that counts as the nearest that is not.
    pub fn new(secret: &str, lifetime: Duration) -> ReadYourWrites {
        let seconds = lifetime.as_secs().clamp(1, Self::LONGEST.as_secs());
        let lifetime = Duration::from_secs(seconds);
        ReadYourWrites { key: blake3::derive_key(PURPOSE, secret.as_bytes()), lifetime }
    }

    fn seal(&self, fence: &Fence, host: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&fence.bytes()).update(host.as_bytes()).finalize()
    }

    fn write(&self, fence: &Fence, host: &str) -> String {
        let sealed = [&fence.bytes()[..], self.seal(fence, host).as_bytes()].concat();
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = |byte: u8| [byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)]);
        sealed.into_iter().flat_map(digits).map(char::from).collect()
    }

    /// `None`: it is no fence, or not this host's, or under another secret.
    fn read(&self, text: &[u8], host: &str) -> Option<Fence> {
        if text.len() != 2 * SEALED {
            return None;
        }
        let mut sealed = [0; SEALED];
        for (byte, digits) in sealed.iter_mut().zip(text.chunks_exact(2)) {
            let half =
                |digit: u8| char::from(digit).to_digit(16).and_then(|half| u8::try_from(half).ok());
            *byte = half(digits[0])? << 4 | half(digits[1])?;
        }
        let (numbers, seal) = sealed.split_first_chunk::<NUMBERS>()?;
        let fence = Fence::of_bytes(*numbers);
        // Hashes are compared in constant time.
        let seal = blake3::Hash::from_bytes(seal.try_into().ok()?);
        (self.seal(&fence, host) == seal).then_some(fence)
    }
}

/// A write, by which process has answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fence {
    process: u64,
    number: u64,
    /// Until when it is good, in milliseconds since 1970.
    until: u64,
}

impl Fence {
    fn bytes(&self) -> [u8; NUMBERS] {
        let mut bytes = [0; NUMBERS];
        for (part, number) in bytes.chunks_exact_mut(8).zip([self.process, self.number, self.until])
        {
            part.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn of_bytes(bytes: [u8; NUMBERS]) -> Fence {
        let mut numbers = [0; 3];
        for (number, part) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = part.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
        let [process, number, until] = numbers;
        Fence { process, number, until }
    }
}

/// What this process knows of writes: its own, and those that it has seen fences of.
pub(super) struct Writes {
    /// By chance, so that it is another's after a restart.
    process: u64,
    /// Held for moments.
    known: Mutex<Known>,
    issued: AtomicU64,
    honoured: AtomicU64,
    ignored: AtomicU64,
}

#[derive(Default)]
struct Known {
    last: u64,
    processes: HashMap<u64, Seen>,
}

/// Of one process.
#[derive(Default)]
struct Seen {
    /// Writes up to this number were over at that moment; both grow.
    points: VecDeque<Point>,
}

struct Point {
    number: u64,
    over: NotBefore,
    at: Instant,
    /// Since when later ones are written over it.
    began: Instant,
}

/// What became of fences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FenceStats {
    /// Answers that carried one.
    pub issued: u64,
    /// Requests that were answered by one.
    pub honoured: u64,
    /// Those that were expired, another host's, or none at all.
    pub ignored: u64,
}

impl Default for Writes {
    fn default() -> Self {
        Writes {
            process: RandomState::new().build_hasher().finish(),
            known: Mutex::default(),
            issued: AtomicU64::new(0),
            honoured: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
        }
    }
}

impl Writes {
    pub(super) fn stats(&self) -> FenceStats {
        FenceStats {
            issued: self.issued.load(Relaxed),
            honoured: self.honoured.load(Relaxed),
            ignored: self.ignored.load(Relaxed),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says in the answer to a write, which is over, what its reader is to send back. `now`: of the cache's clock.
    pub(super) fn say(
        &self,
        rules: &ReadYourWrites,
        (host, is_secure): (&str, bool),
        now: impl FnOnce() -> NotBefore,
        answer: &mut HeaderMap,
    ) {
        let number = {
            let mut known = self.known();
            known.last += 1;
            let number = known.last;
            // Under the lock: a later number was over later.
            known.note(self.process, number, now());
            number
        };
        let until = since_1970(SystemTime::now() + rules.lifetime);
        let text = rules.write(&Fence { process: self.process, number, until }, host);
        let seconds = rules.lifetime.as_secs();
        let secure = if is_secure { "; Secure" } else { "" };
        let cookie = format!(
            "{COOKIE_NAME}={text}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}"
        );
        if let (Ok(text), Ok(cookie)) = (HeaderValue::try_from(text), HeaderValue::try_from(cookie))
        {
            answer.insert(LARDER_FENCE, text);
            answer.append(header::SET_COOKIE, cookie);
            self.issued.fetch_add(1, Relaxed);
        }
    }

    /// Since when the service is to have been asked for what answers a request with these fences. `None`: there is none that
    /// is good.
    pub(super) fn since(
        &self,
        rules: &ReadYourWrites,
        host: &str,
        fences: &[Vec<u8>],
        now: impl FnOnce() -> NotBefore,
    ) -> Option<NotBefore> {
        if fences.is_empty() {
            return None;
        }
        let fences = self.good(rules, host, fences);
        let count = if fences.is_empty() { &self.ignored } else { &self.honoured };
        count.fetch_add(1, Relaxed);
        if fences.is_empty() {
            return None;
        }
        let mut known = self.known();
        let now = now();
        fences.iter().map(|fence| known.over(fence.process, fence.number, now)).max()
    }

    /// The same, with nothing counted and nothing remembered.
    pub(super) fn since_for_onlooker(
        &self,
        rules: &ReadYourWrites,
        host: &str,
        fences: &[Vec<u8>],
        now: NotBefore,
    ) -> Option<NotBefore> {
        let fences = self.good(rules, host, fences);
        let known = self.known();
        let over = |fence: &Fence| known.seen(fence.process, fence.number).unwrap_or(now);
        fences.iter().map(over).max()
    }

    /// Those that are this host's and have not expired.
    fn good(&self, rules: &ReadYourWrites, host: &str, fences: &[Vec<u8>]) -> Vec<Fence> {
        let time = since_1970(SystemTime::now());
        let is_good = |fence: &Fence| {
            let skew = if fence.process == self.process { Duration::ZERO } else { SKEW };
            time <= fence.until.saturating_add(millis(skew))
        };
        fences.iter().filter_map(|text| rules.read(text, host)).filter(is_good).collect()
    }
}

impl Known {
    /// When a write was over, as far as is known: otherwise now.
    fn over(&mut self, process: u64, number: u64, now: NotBefore) -> NotBefore {
        self.seen(process, number).unwrap_or_else(|| {
            self.note(process, number, now);
            now
        })
    }

    /// When a write was over, if that is known.
    fn seen(&self, process: u64, number: u64) -> Option<NotBefore> {
        let points = &self.processes.get(&process)?.points;
        let point = points.get(points.partition_point(|point| point.number < number))?;
        Some(point.over)
    }

    /// Writes up to this one, the last that is known, were over by now.
    fn note(&mut self, process: u64, number: u64, over: NotBefore) {
        let at = Instant::now();
        if !self.processes.contains_key(&process) && self.processes.len() >= MOST_PROCESSES {
            let last = |seen: &Seen| seen.points.back().map(|point| point.at);
            let oldest = self.processes.iter().min_by_key(|(_, seen)| last(seen));
            if let Some(oldest) = oldest.map(|(process, _)| *process) {
                self.processes.remove(&oldest);
            }
        }
        let points = &mut self.processes.entry(process).or_default().points;
        match points.back_mut() {
            // That the earlier ones were over a little earlier is forgotten.
            Some(last) if at < last.began + POINT => {
                *last = Point { number, over, at, began: last.began };
            }
            _ => points.push_back(Point { number, over, at, began: at }),
        }
        let longest = ReadYourWrites::LONGEST + SKEW;
        while points.len() > MOST_POINTS
            || points.front().is_some_and(|first| points.len() > 1 && first.at + longest < at)
        {
            points.pop_front();
        }
    }
}

/// Takes the fences out of a request's fields: no service sees them.
pub(super) fn take(fields: &mut HeaderMap) -> Vec<Vec<u8>> {
    let mut fences: Vec<Vec<u8>> = Vec::new();
    let named = fields.get_all(LARDER_FENCE);
    fences.extend(named.iter().map(|value| value.as_bytes().to_vec()));
    if !fences.is_empty() {
        fields.remove(LARDER_FENCE);
    }
    let is_there = fields.get_all(header::COOKIE).iter().any(|line| is_in(line.as_bytes()));
    if is_there {
        let lines: Vec<HeaderValue> = fields.get_all(header::COOKIE).iter().cloned().collect();
        fields.remove(header::COOKIE);
        for line in lines {
            let (left, taken) = split(line.as_bytes());
            fences.extend(taken);
            if let (false, Ok(left)) = (left.is_empty(), HeaderValue::from_bytes(&left)) {
                fields.append(header::COOKIE, left);
            }
        }
    }
    fences.truncate(MOST_FENCES);
    fences
}

/// Whether a line of cookies may have a fence in it.
pub(super) fn is_in(cookies: &[u8]) -> bool {
    memchr::memmem::find(cookies, COOKIE_NAME.as_bytes()).is_some()
}

/// A line of cookies without its fences, and these.
fn split(cookies: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut left, mut taken) = (Vec::new(), Vec::new());
    for pair in cookies.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
        let fence = pair.strip_prefix(COOKIE_NAME.as_bytes()).map(<[u8]>::trim_ascii_start);
        match fence.and_then(|rest| rest.strip_prefix(b"=")) {
            Some(fence) => taken.push(fence.trim_ascii().to_vec()),
            None if pair.is_empty() => {}
            None => {
                if !left.is_empty() {
                    left.extend_from_slice(b"; ");
                }
                left.extend_from_slice(pair);
            }
        }
    }
    (left, taken)
}

fn since_1970(time: SystemTime) -> u64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use larder::{
        Cache,
        http::{HttpCache, Policy},
    };

    use super::*;

    fn cache() -> HttpCache {
        HttpCache::new(Cache::builder().build(), Policy::guarded())
    }

    fn rules() -> ReadYourWrites {
        ReadYourWrites::new("open sesame", Duration::from_secs(10))
    }

    /// The fence that the answer to a write carries.
    fn written(writes: &Writes, cache: &HttpCache, host: &str) -> Vec<Vec<u8>> {
        let mut answer = HeaderMap::new();
        writes.say(&rules(), (host, true), || cache.not_before_now(), &mut answer);
        let text = answer[LARDER_FENCE].as_bytes().to_vec();
        let cookie = answer[header::SET_COOKIE].to_str().unwrap().to_owned();
        let said = format!("Larder-Fence={}; Max-Age=10; ", String::from_utf8_lossy(&text));
        assert!(cookie.starts_with(&said) && cookie.ends_with("HttpOnly; SameSite=Lax; Secure"));
        vec![text]
    }

    #[test]
    fn a_fence_counts_at_its_host_under_its_secret_and_as_it_was_written() {
        let (writes, cache) = (Writes::default(), cache());
        let fences = written(&writes, &cache, "example.org");
        let since = |rules: &ReadYourWrites, host: &str, fences: &[Vec<u8>]| {
            writes.since(rules, host, fences, || cache.not_before_now())
        };
        assert!(since(&rules(), "example.org", &fences).is_some());
        assert!(since(&rules(), "evil.example.org", &fences).is_none());
        let other = ReadYourWrites::new("open says me", Duration::from_secs(10));
        assert!(since(&other, "example.org", &fences).is_none());
        for place in 0..fences[0].len() {
            let mut forged = fences.clone();
            forged[0][place] = if forged[0][place] == b'0' { b'1' } else { b'0' };
            assert!(since(&rules(), "example.org", &forged).is_none(), "{place}");
        }
        for nonsense in [&b""[..], b"0", &[b'x'; 2 * SEALED], &[b'0'; 2 * SEALED], &[0xff; 112]] {
            assert!(since(&rules(), "example.org", &[nonsense.to_vec()]).is_none());
        }
        assert_eq!(writes.stats().honoured, 1);
        assert_eq!(since(&rules(), "example.org", &[]), None);
    }

    #[test]
    fn an_expired_fence_counts_for_nothing_and_of_another_process_for_as_long_as_clocks_differ() {
        let (writes, cache) = (Writes::default(), cache());
        let fence = |process: u64, ago: u64| {
            let until = since_1970(SystemTime::now()) - ago;
            vec![rules().write(&Fence { process, number: 1, until }, "a").into_bytes()]
        };
        let since =
            |fences: &[Vec<u8>]| writes.since(&rules(), "a", fences, || cache.not_before_now());
        assert!(since(&fence(writes.process, 1)).is_none());
        assert!(since(&fence(writes.process ^ 1, 1)).is_some());
        assert!(since(&fence(writes.process ^ 1, millis(SKEW) + 1000)).is_none());
    }

    #[test]
    fn an_own_write_counts_from_its_end_and_another_s_from_when_it_was_first_seen() {
        let (one, other, cache) = (Writes::default(), Writes::default(), cache());
        let before = cache.not_before_now();
        let first = written(&one, &cache, "a");
        let between = cache.not_before_now();
        std::thread::sleep(2 * POINT);
        let second = written(&one, &cache, "a");
        let later = cache.not_before_now();
        let since = |writes: &Writes, fences: &[Vec<u8>]| {
            writes.since(&rules(), "a", fences, || cache.not_before_now()).unwrap()
        };
        assert!((before..=between).contains(&since(&one, &first)));
        assert!((between..=later).contains(&since(&one, &second)));
        let seen = since(&other, &second);
        assert!(seen >= later);
        assert_eq!(since(&other, &second), seen, "once is enough");
        assert_eq!(since(&other, &first), seen, "it was over before");
        let both = [&first[..], &second].concat();
        assert_eq!(since(&one, &both), since(&one, &second), "the later one counts");
    }

    #[test]
    fn however_many_writes_and_processes_there_are_what_is_remembered_is_bounded() {
        let (cache, mut known) = (cache(), Known::default());
        for process in 0..10 * MOST_PROCESSES as u64 {
            known.over(process, 1, cache.not_before_now());
        }
        assert_eq!(known.processes.len(), MOST_PROCESSES);
        let began = cache.not_before_now();
        for number in 2..10_000 {
            known.note(7, number, cache.not_before_now());
        }
        let points = &known.processes[&7].points;
        assert!(points.len() <= MOST_POINTS, "{}", points.len());
        // A write of which there is no point any more counts as over at a later one.
        assert!(known.over(7, 1, cache.not_before_now()) >= began);
    }

    #[test]
    fn fences_are_taken_out_of_cookies_and_nothing_else_is() {
        for (cookies, left, taken) in [
            ("a=b; Larder-Fence=1; c=d", "a=b; c=d", vec!["1"]),
            ("Larder-Fence=1", "", vec!["1"]),
            ("Larder-Fence=1;Larder-Fence=2; a=b", "a=b", vec!["1", "2"]),
            ("xLarder-Fence=1; a=Larder-Fence", "xLarder-Fence=1; a=Larder-Fence", vec![]),
            ("Larder-Fence", "Larder-Fence", vec![]),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(header::COOKIE, HeaderValue::from_static(cookies));
            let fences: Vec<_> = take(&mut fields);
            assert_eq!(fences, taken.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
            let stays = fields.get(header::COOKIE).map_or("", |line| line.to_str().unwrap());
            assert_eq!(stays, left, "{cookies}");
        }
        let mut fields = HeaderMap::new();
        for nth in 0..100 {
            fields.append(LARDER_FENCE, HeaderValue::from(nth));
        }
        assert_eq!(take(&mut fields).len(), MOST_FENCES);
        assert!(fields.is_empty());
    }
}
