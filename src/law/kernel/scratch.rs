//! Long vectors that are needed again and again: an optimiser asks for a gradient hundreds of times, and memory fresh
//! from the system costs several times the arithmetic on it.

use std::cell::RefCell;

/// Vectors kept a thread.
const MOST: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Vec<f64>>> = const { RefCell::new(Vec::new()) };
}

/// `n` zeros.
pub fn zeros(n: usize) -> Vec<f64> {
    let mut vector = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    vector.clear();
    vector.resize(n, 0.0);
    vector
}

/// Hands a vector back for the next who asks.
pub fn give_back(vector: Vec<f64>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < MOST {
            spare.push(vector);
        }
    });
}
