//! Which layer computes a value, for profiles: no part of a graph's structure.

use std::cell::Cell;

/// The layer that a value belongs to, known by the cell of one of its parameters, and whether a backward pass made it.
///
/// What reads a parameter belongs to that parameter's layer; anything else to the layer of its first operand that has one, or, in
/// a backward pass, of the value whose gradient is being computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Layer(u64);

/// Made of parameters alone: such an operand decides.
const PARAMETER: u64 = 1;
const BACKWARD: u64 = 2;
const BITS: u32 = 2;

thread_local! {
    static CURRENT: Cell<Layer> = const { Cell::new(Layer(0)) };
}

/// As long as it lives, what this thread makes belongs to a backward pass through one value.
#[derive(Debug)]
pub(crate) struct Through(Layer);

impl Drop for Through {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

impl Layer {
    /// That of a read of a cell.
    pub fn of_cell(id: u64) -> Self {
        Self(id << BITS | PARAMETER)
    }

    /// That of a value with operands of these layers; `None` for numbers, which belong nowhere.
    pub fn of(operands: impl Iterator<Item = Option<Self>>) -> Self {
        let (mut parameter, mut first, mut only) = (Self(0), Self(0), PARAMETER);
        for operand in operands.flatten() {
            if operand.0 & PARAMETER == 0 {
                only = 0;
                first = if first.cell().is_none() { operand } else { first };
            } else if parameter.0 == 0 {
                parameter = operand;
            }
        }
        let current = CURRENT.get();
        if parameter.0 != 0 {
            return Self(parameter.0 & !(PARAMETER | BACKWARD) | only | current.0 & BACKWARD);
        }
        if current.0 == 0 { first } else { current }
    }

    /// Until the result is dropped, what this thread makes is part of a backward pass through a value of this layer.
    pub fn backward(self) -> Through {
        Through(CURRENT.replace(Self(self.0 & !PARAMETER | BACKWARD)))
    }

    /// The cell.
    pub fn cell(self) -> Option<u64> {
        Some(self.0 >> BITS).filter(|&id| id != 0)
    }

    /// Whether a backward pass made it.
    pub fn is_backward(self) -> bool {
        self.0 & BACKWARD != 0
    }
}

/// The layers of a graph's nodes, where a profile asks for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    /// By node; nodes after the last have none.
    pub nodes: Vec<Layer>,
    /// Cells that are read, and their names.
    pub names: Vec<(u64, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_decide_then_backward_passes_then_operands() {
        let of = |operands: &[Layer]| Layer::of(operands.iter().copied().map(Some));
        let (data, weight, bias) = (Layer::default(), Layer::of_cell(1), Layer::of_cell(2));
        let turned = of(&[weight]);
        assert_eq!(turned, weight, "a view of a parameter decides as the parameter does");
        let first = of(&[data, turned]);
        assert_eq!((first.cell(), first.is_backward()), (Some(1), false));
        let second = of(&[first, bias]);
        assert_eq!(second.cell(), Some(2));
        assert_eq!(of(&[second]), second);
        assert_eq!(Layer::of([Some(weight), None].into_iter()), weight, "numbers belong nowhere");
        let through = second.backward();
        assert_eq!((of(&[first]).cell(), of(&[first]).is_backward()), (Some(2), true));
        let outer = data.backward();
        assert_eq!((of(&[first]).cell(), of(&[first]).is_backward()), (None, true));
        assert_eq!((of(&[first, weight]).cell(), of(&[first, weight]).is_backward()), (Some(1), true));
        drop(outer);
        assert_eq!(of(&[first]).cell(), Some(2));
        drop(through);
        assert_eq!(of(&[first]), first);
    }
}
