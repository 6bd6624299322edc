//! The matrix of taps, some columns at a time: row (channel, tap), a column per result of a window, over several images.

use super::window::Window;
use std::ops::Range;

/// Elements that are copied one by one rather than by a call.
const FEW: usize = 8;

/// Neighbouring results in a row of the grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The first one's place among the columns.
    pub at: usize,
    /// How many there are.
    pub len: usize,
    /// Where they are.
    pub image: usize,
    /// In the grid.
    pub row: usize,
    /// In the grid.
    pub column: usize,
}

/// The results `range` of a grid of `[rows, columns]`, counted through images.
pub(super) fn runs([rows, columns]: [usize; 2], range: Range<usize>) -> impl Iterator<Item = Run> {
    let mut next = range.start;
    std::iter::from_fn(move || {
        (next < range.end).then(|| {
            let (line, column) = (next / columns, next % columns);
            let len = (columns - column).min(range.end - next);
            let run = Run { at: next - range.start, len, image: line / rows, row: line % rows, column };
            next += len;
            run
        })
    })
}

/// What a tap copies to a row: equally spaced source pixels.
#[derive(Debug, Clone, Copy)]
struct Copy {
    at: usize,
    len: usize,
    from: usize,
}

/// What a tap does for some columns, the same for every channel.
#[derive(Debug, Default)]
struct Moves {
    copies: Vec<Copy>,
    /// Columns whose pixel is outside, as (first, how many).
    zeros: Vec<(usize, usize)>,
}

/// Some columns of the matrix.
#[derive(Debug)]
pub(super) struct Columns {
    moves: Vec<Moves>,
    step: usize,
    /// Elements of a channel.
    plane: usize,
    /// Columns, with those added that are 0.
    width: usize,
}

impl Columns {
    /// The results `range`, counted through images of `image` elements each, in a row of `width`.
    pub fn new(window: &Window, image: usize, range: Range<usize>, width: usize) -> Self {
        let [height, across] = window.source;
        let step = window.stride[1];
        let moves = window.taps.iter().map(|tap| {
            let (ys, xs) = (window.inside(0, tap), window.inside(1, tap));
            let mut moves = Moves::default();
            let mut end = 0;
            for run in runs(window.grid, range.clone()) {
                let columns = run.column.max(xs.start)..(run.column + run.len).min(xs.end);
                if columns.is_empty() || !ys.contains(&run.row) {
                    continue;
                }
                let [y, x] =
                    [(run.row, 0), (columns.start, 1)].map(|(i, d)| (i * window.stride[d]).wrapping_add_signed(tap.offset[d]));
                moves.add(
                    Copy {
                        at: run.at + columns.start - run.column,
                        len: columns.len(),
                        from: run.image * image + y * across + x,
                    },
                    end,
                    step,
                );
                end = run.at + columns.end - run.column;
            }
            if end < width {
                moves.zeros.push((end, width - end));
            }
            moves
        });
        Self { moves: moves.collect(), step, plane: height * across, width }
    }

    /// Fills rows `rows` of the matrix, `width` elements each; `source` starts at the first image's first channel.
    pub fn fill(&self, source: &[f32], rows: Range<usize>, out: &mut [f32]) {
        let taps = self.moves.len();
        for (tap, moves) in self.moves.iter().enumerate() {
            let first = (rows.start + taps - 1 - tap) / taps;
            for channel in first.. {
                let row = channel * taps + tap;
                if row >= rows.end {
                    break;
                }
                let line = &mut out[(row - rows.start) * self.width..][..self.width];
                moves.run(&source[channel * self.plane..], self.step, line);
            }
        }
    }
}

impl Moves {
    /// Adds what is copied after the columns up to `end`: to the copy before, if that runs on to the same pixels.
    fn add(&mut self, copy: Copy, end: usize, step: usize) {
        if copy.at > end {
            self.zeros.push((end, copy.at - end));
        }
        match self.copies.last_mut() {
            Some(last) if step == 1 && last.from < copy.from && copy.from - last.from == copy.at - last.at => {
                last.len = copy.at + copy.len - last.at;
            }
            _ => self.copies.push(copy),
        }
    }

    #[inline(always)]
    fn run(&self, source: &[f32], step: usize, line: &mut [f32]) {
        for &Copy { at, len, from } in &self.copies {
            let to = &mut line[at..at + len];
            if step == 1 && len >= FEW {
                to.copy_from_slice(&source[from..from + len]);
            } else {
                to.iter_mut().zip(source[from..].iter().step_by(step)).for_each(|(to, &x)| *to = x);
            }
        }
        for &(at, len) in &self.zeros {
            line[at..at + len].fill(0.0);
        }
    }
}
