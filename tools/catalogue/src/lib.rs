//! Operations and networks at the shapes that training meets.

mod attention;
mod convolutions;
pub mod networks;
mod others;
mod products;
pub mod zoo;

use wgrad::{Device, Generator, Result, Tensor};

/// Makes operands and returns the lazy result.
type Make = Box<dyn Fn(&Device) -> Result<Tensor>>;

/// An operation, and what it is worth.
pub struct Case {
    /// Cases of a group share floors: `convolution 3x3 forward`.
    pub group: String,
    /// Unlike any other.
    pub name: String,
    /// The multiply-adds of its definition: m·n·k of a product, n·oc·oh·ow·(ic/groups)·kh·kw of a convolution and of its
    /// gradients,
    /// padding included; 0 of what is neither.
    pub multiply_adds: f64,
    /// The fewest bytes that must move: each input once, each output once.
    pub bytes: f64,
    make: Make,
}

impl Case {
    fn new(
        group: impl Into<String>,
        name: impl Into<String>,
        multiply_adds: usize,
        elements: usize,
        make: impl Fn(&Device) -> Result<Tensor> + 'static,
    ) -> Self {
        let (multiply_adds, bytes) = (multiply_adds as f64, 4.0 * elements as f64);
        Self { group: group.into(), name: name.into(), multiply_adds, bytes, make: Box::new(make) }
    }

    /// The result, not yet evaluated; its operands are, and are the same on each device.
    ///
    /// # Errors
    /// The device's.
    pub fn make(&self, device: &Device) -> Result<Tensor> {
        (self.make)(device)
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases = products::cases();
    cases.extend(convolutions::cases());
    cases.extend(attention::cases());
    cases.extend(others::cases());
    cases
}

/// An evaluated operand of numbers from -2 to 2, the same on each device: no step of it rounds.
fn noise(shape: &[usize], seed: u64, device: &Device) -> Result<Tensor> {
    let tensor = (Tensor::rand(shape, &Generator::new(seed), device)? - 0.5) * 4.0;
    tensor.eval()?;
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_groups_are_words() {
        let cases = super::all();
        assert!(cases.len() >= 150, "{} cases", cases.len());
        let names: HashSet<&str> = cases.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
        for case in &cases {
            assert!(case.bytes > 0.0 && case.multiply_adds >= 0.0, "{}", case.name);
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
            assert!(!case.group.is_empty() && case.group.chars().all(good), "{}", case.group);
        }
    }
}
