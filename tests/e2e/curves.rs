//! Reading curves as a library's user does, and how much memory hostile files may take.

use lehr::curve::{LossKind, LrOrigin, ReadOptions, WarmUp, read, read_bytes};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is held, and the most that ever was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(held, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test at a time, so that each counts its own.
static ALONE: Mutex<()> = Mutex::new(());

/// The most held while reading, in bytes over what was held before.
fn most_held(bytes: Vec<u8>) -> usize {
    let before = HELD.load(Relaxed);
    MOST.store(before, Relaxed);
    let _ = read_bytes(bytes, "file", &ReadOptions::default());
    MOST.load(Relaxed).saturating_sub(before)
}

#[test]
fn a_curve_with_its_exact_schedule() {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let row = |s: u64| {
        format!(
            "{{\"global_step\": {s}, \"eval_loss\": {}}}\n",
            4.0 - s as f64 / 1e3
        )
    };
    let rows: String = (0..=20).map(|i| row(50 * i)).collect();
    std::fs::write(&path, rows).unwrap();
    let argument = format!(
        "{}@wsd:fraction=0.2,peak=1e-3,warmup=50,steps=1000",
        path.display()
    );
    let curve = read(&argument, &ReadOptions::default()).unwrap().remove(0);
    assert_eq!(
        (curve.name.as_str(), curve.kind),
        ("run", LossKind::Validation)
    );
    assert_eq!((curve.points.len(), curve.lrs.len()), (21, 1000));
    assert_eq!((curve.warmup, curve.peak_lr()), (WarmUp::Known(50), 1e-3));
    assert!(matches!(&curve.lr_origin, LrOrigin::Schedule(text) if text.starts_with("wsd:")));
    assert_eq!(curve.after(500).binned(100).points.len(), 6);
}

#[test]
fn claims_are_not_believed_before_their_bytes_are_there() {
    let _alone = ALONE.lock();
    let mut event = u64::MAX.to_le_bytes().to_vec();
    event.extend(b"....\x0a\x0dbrain.Event:2");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "pickled bytes",
            b"\x80\x05\x96\xff\xff\xff\xff\x7f\0\0\0".to_vec(),
        ),
        (
            "pickled text",
            b"\x80\x05\x8d\xff\xff\xff\xff\x7f\0\0\0".to_vec(),
        ),
        (
            "a frame",
            b"\x80\x05\x95\xff\xff\xff\xff\x7f\0\0\0]".to_vec(),
        ),
        ("an event", event),
        ("a footer", b"PAR1\xff\xff\xff\x7fPAR1".to_vec()),
        (
            "a large step",
            b"step,lr,loss\n99999999999999,1,1\n".repeat(20),
        ),
    ];
    for (name, bytes) in cases {
        let most = most_held(bytes);
        assert!(most < 1 << 20, "{name} took {most} bytes");
    }
}

#[test]
fn memory_is_bounded_by_the_file() {
    let _alone = ALONE.lock();
    let deep_dicts = [b"\x80\x02".to_vec(), b"}".repeat(1 << 20), b".".to_vec()].concat();
    let memo = {
        let mut bytes = b"\x80\x04]".to_vec();
        for i in 0..300_000u32 {
            bytes.push(b'r');
            bytes.extend(i.to_le_bytes());
        }
        bytes
    };
    let keys: String = (0..60_000).map(|i| format!("{{\"k{i}\":1}}\n")).collect();
    let nested = format!("[{}]", vec!["[[[[[[[[]]]]]]]]"; 60_000].join(","));
    let cases = [
        ("dicts", deep_dicts),
        ("names", memo),
        ("columns", keys.into_bytes()),
        ("lists", nested.into_bytes()),
        (
            "numbers",
            format!("[{}1]", "1,".repeat(500_000)).into_bytes(),
        ),
        (
            "commas",
            [&b"step,lr,loss"[..], &b",".repeat(1 << 20)].concat(),
        ),
    ];
    for (name, bytes) in cases {
        let size = bytes.len();
        let most = most_held(bytes);
        assert!(most < 100 * size, "{name}: {size} bytes took {most}");
    }
}
