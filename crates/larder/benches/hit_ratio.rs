//! Hit ratio: how much of the gap from LRU to the optimum each cache closes.
//!
//! ```text
//! cargo bench -p larder --bench hit_ratio -- [TRACE ...] [NAME ...]
//! ```
//!
//! Without a path it replays what it makes itself: skewed loads (Zipf), a skewed load under a scan,
//! a popularity that drifts, and a loop. A trace is a file of little-endian 32-bit keys (`.i32`) or
//! of lines `start count x n` (`.lis`). `NAME`s pick loads by parts of their names. The optimum is Belady's: whoever is needed latest goes.
//!
//! Gap closed = (hits − LRU's) / (optimum − LRU's). Numbers in the table are gaps in per cent; LRU's
//! and the optimum's own columns are hits in per cent of all accesses.

#![expect(clippy::unwrap_used, reason = "a bench is no library")]

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
};

use larder::{Cache, Eviction};

#[path = "support/zipf.rs"]
mod zipf;
use zipf::{Random, Zipf};

struct Load {
    name: String,
    keys: Vec<u32>,
    capacities: Vec<usize>,
}

const SCAN: &str = "scan 75 %";
/// One access in so many is no scan.
const SCAN_PART: f64 = 4.0;

type Replay = fn(&[u32], usize) -> usize;

const RIVALS: [(&str, Replay); 6] = [
    ("larder", |keys, capacity| larder(keys, capacity, Eviction::S3Fifo)),
    ("quick_cache", quick_cache),
    ("moka", moka),
    ("foyer s3", |keys, capacity| {
        foyer(keys, capacity, foyer_memory::S3FifoConfig::default().into())
    }),
    ("foyer lfu", |keys, capacity| {
        foyer(keys, capacity, foyer_memory::LfuConfig::default().into())
    }),
    ("foyer lru", |keys, capacity| {
        foyer(keys, capacity, foyer_memory::LruConfig::default().into())
    }),
];

fn main() {
    // `cargo bench` passes a flag of its own.
    let words = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let (paths, names): (Vec<_>, Vec<_>) = words.partition(|word| Path::new(word).exists());
    let mut loads: Vec<_> = paths.iter().map(|path| trace(Path::new(path))).collect();
    loads.extend(synthetic());
    loads.retain(|load| names.is_empty() || names.iter().any(|name| load.name.contains(name)));

    print!("{:22}{:>8}{:>8}", "load / entries", "LRU", "optimum");
    RIVALS.iter().for_each(|(name, _)| print!("{name:>13}"));
    println!();
    let mut gaps = vec![Vec::new(); RIVALS.len()];
    let mut behind = vec![(0.0, String::new()); RIVALS.len()];
    let mut under_scan = Vec::new();
    for load in &loads {
        for &capacity in &load.capacities {
            let percent = |hits: usize| hits as f64 * 100.0 / load.keys.len() as f64;
            let lru = percent(larder(&load.keys, capacity, Eviction::Lru));
            let optimum = percent(belady(&load.keys, capacity));
            let row = format!("{} / {capacity}", load.name);
            print!("{row:22}{lru:8.2}{optimum:8.2}");
            let hits = RIVALS.map(|(_, replay)| percent(replay(&load.keys, capacity)));
            let best = hits.iter().fold(lru, |best, &hits| best.max(hits));
            for (rival, &hits) in hits.iter().enumerate() {
                let gap = (hits - lru) / (optimum - lru) * 100.0;
                print!("{gap:13.1}");
                gaps[rival].push(gap);
                if best - hits > behind[rival].0 {
                    behind[rival] = (best - hits, row.clone());
                }
            }
            println!();
            if load.name == SCAN {
                under_scan.push((row, lru, hits));
            }
        }
    }
    print!("{:38}", "mean gap closed");
    gaps.iter().for_each(|gaps| print!("{:13.1}", gaps.iter().sum::<f64>() / gaps.len() as f64));
    println!("\n");
    if !under_scan.is_empty() {
        println!("under the scan, hits in per cent of what is no scan:");
    }
    for (row, lru, hits) in under_scan {
        print!("{row:22}{:8.1}{:8}", lru * SCAN_PART, "");
        hits.iter().for_each(|hits| print!("{:13.1}", hits * SCAN_PART));
        println!();
    }
    println!("\nfarthest behind the best, in points of hits:");
    for ((name, _), (points, row)) in RIVALS.iter().zip(&behind) {
        println!("{name:12} {points:5.1}  {row}");
    }
}

fn trace(path: &Path) -> Load {
    let keys: Vec<u32> = if path.extension().is_some_and(|extension| extension == "lis") {
        let text = std::fs::read_to_string(path).unwrap();
        let ranges = text.lines().map(|line| {
            let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().unwrap());
            let (start, count) = (numbers.next().unwrap(), numbers.next().unwrap());
            start..start + count
        });
        ranges.flatten().collect()
    } else {
        let bytes = std::fs::read(path).unwrap();
        bytes.chunks_exact(4).map(|key| u32::from_le_bytes(key.try_into().unwrap())).collect()
    };
    let distinct = keys.iter().collect::<HashSet<_>>().len();
    let shares = [0.02, 0.05, 0.1, 0.2, 0.4].map(|share| (distinct as f64 * share) as usize);
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    Load { name, keys, capacities: shares.to_vec() }
}

fn synthetic() -> Vec<Load> {
    let mut loads = Vec::new();
    for skew in [0.8, 0.99, 1.2] {
        let (mut random, zipf) = (Random(42), Zipf::new(100_000, skew));
        let keys = (0..2_000_000).map(|_| zipf.draw(&mut random)).collect();
        loads.push(Load { name: format!("Zipf {skew}"), keys, capacities: vec![1000, 10_000] });
    }
    let (mut random, zipf) = (Random(7), Zipf::new(50_000, 0.99));
    let scan = (0..1_000_000_u32).flat_map(|at| {
        let cold = 1_000_000 + 3 * at;
        [zipf.draw(&mut random), cold, cold + 1, cold + 2]
    });
    loads.push(Load {
        name: SCAN.into(),
        keys: scan.collect(),
        // With the first, LRU has about 47 % of what is no scan.
        capacities: vec![3600, 20_000],
    });
    let (mut random, zipf) = (Random(9), Zipf::new(50_000, 0.9));
    let drift = (0..2_000_000_u32).map(|at| {
        let rank = zipf.draw(&mut random);
        (rank + at / 200 * (1 + rank % 7)) % 200_000
    });
    loads.push(Load { name: "drift".into(), keys: drift.collect(), capacities: vec![1000, 5000] });
    let keys = (0..400_000).map(|at| at % 20_000).collect();
    loads.push(Load { name: "loop".into(), keys, capacities: vec![2000, 10_000] });
    loads
}

fn larder(keys: &[u32], capacity: usize, eviction: Eviction) -> usize {
    let cache =
        Cache::<()>::builder().max_bytes(1 << 30).max_entries(capacity).eviction(eviction).build();
    let mut text = String::new();
    let hits = keys.iter().filter(|&&key| {
        use std::fmt::Write;
        text.clear();
        write!(text, "{key}").unwrap();
        let is_hit = cache.get(&text).is_some();
        if !is_hit {
            cache.insert(&text, ());
        }
        is_hit
    });
    hits.count()
}

fn quick_cache(keys: &[u32], capacity: usize) -> usize {
    let cache = quick_cache::sync::Cache::<u32, ()>::new(capacity);
    replay(keys, |key| cache.get(key).is_some(), |key| cache.insert(key, ()))
}

fn moka(keys: &[u32], capacity: usize) -> usize {
    let cache = moka::sync::Cache::<u32, ()>::new(capacity as u64);
    replay(keys, |key| cache.get(key).is_some(), |key| cache.insert(key, ()))
}

fn foyer(keys: &[u32], capacity: usize, eviction: foyer_memory::EvictionConfig) -> usize {
    let cache = foyer_memory::CacheBuilder::new(capacity)
        .with_shards((capacity / 1024).clamp(1, 8))
        .with_eviction_config(eviction)
        .build::<foyer_memory::CacheProperties>();
    replay(
        keys,
        |key| cache.get(key).is_some(),
        |key| {
            cache.insert(key, ());
        },
    )
}

fn replay(keys: &[u32], get: impl Fn(&u32) -> bool, insert: impl Fn(u32)) -> usize {
    let hits = keys.iter().filter(|&key| {
        let is_hit = get(key);
        if !is_hit {
            insert(*key);
        }
        is_hit
    });
    hits.count()
}

fn belady(keys: &[u32], capacity: usize) -> usize {
    let mut next_use = vec![0; keys.len()];
    let mut seen = HashMap::new();
    for (at, key) in keys.iter().enumerate().rev() {
        // Never again: each at a time of its own, so that the set below holds them apart.
        next_use[at] = seen.insert(key, at).unwrap_or(keys.len() + at);
    }
    let (mut held, mut hits) = (BTreeSet::new(), 0);
    for (at, &next) in next_use.iter().enumerate() {
        if held.remove(&at) {
            hits += 1;
        }
        held.insert(next);
        if held.len() > capacity {
            held.pop_last();
        }
    }
    hits
}
