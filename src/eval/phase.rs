//! Points within an evaluation at which other threads may act: where a test steps in.

/// Marks a point.
#[cfg(not(test))]
#[inline(always)]
pub(super) fn reached() {}

#[cfg(test)]
thread_local! {
    static HOOK: std::cell::RefCell<Option<Box<dyn Fn()>>> = const { std::cell::RefCell::new(None) };
}

/// Marks a point.
#[cfg(test)]
pub(super) fn reached() {
    HOOK.with_borrow(|hook| hook.iter().for_each(|hook| hook()));
}

/// Has `hook` called at each point that this thread reaches.
#[cfg(test)]
pub(super) fn hook(hook: impl Fn() + 'static) {
    HOOK.set(Some(Box::new(hook)));
}
