//! Case analysis: what holds in each case holds. `id < 5 OR id >= 3` is true for an id below 5, for 5 and above.

use super::scope::Target;
use super::signs::Signs;
use super::term::Term;
use super::truth::Truth;

/// A question: how does `left` compare with `right`?
#[derive(Clone, Debug)]
pub(super) struct Atom {
    pub(super) left: Term,
    pub(super) right: Term,
    /// The answers that it can have.
    pub(super) signs: Signs,
}

/// Most questions that are answered one within the other.
const DEPTH: u32 = 10;

impl Target<'_> {
    /// Whether what is looked at is as it is wanted in every case.
    pub(super) fn in_all_cases(&self, look: &dyn Fn() -> Truth, wanted: fn(Truth) -> bool) -> bool {
        // It may use up a part of the steps only, so that enough are left for what stands around.
        let left = self.fuel.get();
        let allowance = left / 2;
        self.fuel.set(allowance);
        let pending = self.pending.take();
        let holds = self.split(look, wanted, DEPTH);
        self.pending.replace(pending);
        self.fuel.set(left - (allowance - self.fuel.get()));
        holds
    }

    fn split(&self, look: &dyn Fn() -> Truth, wanted: fn(Truth) -> bool, depth: u32) -> bool {
        self.pending.borrow_mut().clear();
        let truth = look();
        if !matches!(truth, Truth::Open { .. }) {
            return wanted(truth);
        }
        let Some(Atom { left, right, signs }) = next(&self.pending.take()) else { return false };
        if depth == 0 || self.fuel.get() == 0 {
            return false;
        }
        signs.each().all(|sign| {
            self.assumed.borrow_mut().push((left.clone(), right.clone(), sign));
            let holds = self.split(look, wanted, depth - 1);
            self.assumed.borrow_mut().pop();
            holds
        })
    }
}

/// The question to ask next. What is asked of one value alone, and once, can be answered so that it does not help: the value that
/// is asked about most comes first.
fn next(pending: &[Atom]) -> Option<Atom> {
    // A few are enough to choose from.
    const LOOKED_AT: usize = 64;
    let pending = &pending[..pending.len().min(LOOKED_AT)];
    let times = |atom: &Atom| pending.iter().filter(|other| other.left == atom.left).count();
    pending.iter().rev().max_by_key(|atom| times(atom)).cloned()
}
