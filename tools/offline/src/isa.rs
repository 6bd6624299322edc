//! What a kernel's hottest loop is made of, from RADV's disassembly.

/// Instructions of a piece of machine code, counted by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mix {
    /// Multiply-adds in f32 per lane; a dual-issued pair counts as what it says.
    pub multiply_adds: usize,
    /// Vector arithmetic, multiply-adds included.
    pub vector: usize,
    /// Scalar arithmetic and branches.
    pub scalar: usize,
    /// Loads from memory.
    pub loads: usize,
    /// Bytes that they load per lane.
    pub load_bytes: usize,
    /// Loads through the scalar cache.
    pub scalar_loads: usize,
    /// Stores to memory.
    pub stores: usize,
    /// Reads of workgroup memory.
    pub shared_reads: usize,
    /// Bytes that they read per lane.
    pub shared_bytes: usize,
    /// Writes to workgroup memory.
    pub shared_writes: usize,
    /// Waits for memory of either kind.
    pub waits: usize,
    /// Barriers.
    pub barriers: usize,
    /// Spills: loads and stores of scratch memory.
    pub scratch: usize,
    /// Instructions in all.
    pub all: usize,
}

/// The f32 multiply-adds.
const MULTIPLY_ADDS: [&str; 6] = ["v_fma_f32", "v_fmac_f32", "v_mac_f32", "v_mad_f32", "v_dual_fmac", "v_dual_fma"];

impl Mix {
    /// The share of multiply-adds in vector arithmetic.
    pub fn share(&self) -> f64 {
        self.multiply_adds as f64 / self.vector.max(1) as f64
    }

    /// Bytes loaded from memory per multiply-add; 0 without any.
    pub fn bytes_per_multiply_add(&self) -> f64 {
        if self.multiply_adds == 0 { 0.0 } else { self.load_bytes as f64 / self.multiply_adds as f64 }
    }

    fn add(&mut self, line: &str) {
        let op = line.split_whitespace().next().unwrap_or("");
        let starts = |names: &[&str]| names.iter().any(|name| op.starts_with(name));
        self.all += 1;
        if op.starts_with("v_") {
            self.vector += 1;
            // A dual-issued line names two operations, joined by "::".
            let both = line.split("::").filter_map(|half| half.split_whitespace().next());
            self.multiply_adds += both.filter(|op| MULTIPLY_ADDS.iter().any(|name| op.starts_with(name))).count();
            self.multiply_adds += 2 * usize::from(op.starts_with("v_pk_fma_f32"));
        } else if starts(&["scratch_"]) || (starts(&["buffer_"]) && line.ends_with(" scratch")) {
            self.scratch += 1;
        } else if starts(&["buffer_load", "global_load", "flat_load"]) {
            self.loads += 1;
            self.load_bytes += width(op);
        } else if starts(&["buffer_store", "global_store", "flat_store"]) {
            self.stores += 1;
        } else if starts(&["ds_read", "ds_load"]) {
            self.shared_reads += 1;
            self.shared_bytes += width(op) * if starts(&["ds_read2", "ds_load_2addr"]) { 2 } else { 1 };
        } else if starts(&["ds_write", "ds_store"]) {
            self.shared_writes += 1;
        } else if starts(&["s_buffer_load", "s_load"]) {
            self.scalar_loads += 1;
        } else if starts(&["s_waitcnt"]) {
            self.waits += 1;
        } else if op == "s_barrier" {
            self.barriers += 1;
        } else if starts(&["s_"]) {
            self.scalar += 1;
        }
    }
}

/// Bytes that a load or read moves per lane.
fn width(op: &str) -> usize {
    match op {
        _ if op.contains("x4") || op.ends_with("128") => 16,
        _ if op.contains("x3") || op.ends_with("96") => 12,
        _ if op.contains("x2") || op.ends_with("64") => 8,
        _ if op.ends_with("byte") || op.ends_with("u8") || op.ends_with("i8") => 1,
        _ if op.ends_with("short") || op.ends_with("16") => 2,
        _ => 4,
    }
}

/// A kernel's code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Code {
    /// The innermost loop with the most multiply-adds, or else with the most loads; none without a loop.
    pub hottest: Option<Mix>,
    /// All of it.
    pub whole: Mix,
}

impl Code {
    /// Counts a disassembly: lines of instructions, and labels in front of blocks.
    pub fn parse(text: &str) -> Self {
        let mut blocks: Vec<(&str, Vec<&str>)> = vec![("", Vec::new())];
        let mut whole = Mix::default();
        for line in text.lines() {
            let line = line.split(';').next().unwrap_or("").trim();
            if let Some(label) = line.strip_suffix(':') {
                blocks.push((label, Vec::new()));
            } else if let (false, Some((_, lines))) = (line.is_empty(), blocks.last_mut()) {
                whole.add(line);
                lines.push(line);
            }
        }
        let place = |label: &str| blocks.iter().rposition(|(name, _)| *name == label);
        // A branch back, from a block to one that is not after it, is a loop.
        let mut loops: Vec<(usize, usize)> = Vec::new();
        for (at, (_, lines)) in blocks.iter().enumerate() {
            let branches = lines.iter().filter(|l| l.starts_with("s_cbranch") || l.starts_with("s_branch"));
            let targets = branches.filter_map(|l| place(l.split_whitespace().nth(1)?));
            loops.extend(targets.filter(|&to| to <= at).map(|to| (to, at)));
        }
        let innermost = |l: &&(usize, usize)| !loops.iter().any(|o| o != *l && o.0 >= l.0 && o.1 <= l.1);
        let mix = |&(from, to): &(usize, usize)| {
            let mut mix = Mix::default();
            blocks[from..=to].iter().flat_map(|(_, lines)| lines).for_each(|line| mix.add(line));
            mix
        };
        let order = |m: &Mix| (m.multiply_adds, m.loads + m.shared_reads, m.all);
        Self { hottest: loops.iter().filter(innermost).map(mix).max_by_key(order), whole }
    }

    /// The hottest loop, or all of a kernel without loops.
    pub fn hot(&self) -> Mix {
        self.hottest.unwrap_or(self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "BB0:
\ts_load_dwordx4 s[0:3], s[2:3], 0x0        ; f4080001 fa000000
\tv_mov_b32_e32 v0, 0
BB1:
\ts_waitcnt vmcnt(0) lgkmcnt(0)
BB2:
\tbuffer_load_dwordx4 v[4:7], v1, s[0:3], 0 offen ; e0381000 80000401
\tbuffer_load_dword v8, v2, s[0:3], 0 offen
\tds_read_b128 v[12:15], v3
\tds_read2_b64 v[16:19], v3 offset1:1
\ts_waitcnt vmcnt(0)
\tv_fma_f32 v0, v4, v8, v0
\tv_fmac_f32_e32 v0, v5, v8
\tv_add_nc_u32_e32 v1, 16, v1
\tv_dual_fmac_f32 v1, v2, v3 :: v_dual_fmac_f32 v4, v5, v6
\ts_barrier
\ts_cmp_lt_u32 s4, s5
\ts_cbranch_scc1 BB2
BB3:
\ts_cbranch_scc1 BB1
\tbuffer_store_dwordx2 v[0:1], v1, s[0:3], 0 offen
\ts_endpgm
";

    #[test]
    fn the_innermost_loop_is_counted() {
        let code = Code::parse(TEXT);
        let hot = code.hottest.expect("a loop");
        assert_eq!((hot.multiply_adds, hot.vector), (4, 4));
        assert_eq!((hot.loads, hot.load_bytes, hot.shared_reads, hot.shared_bytes), (2, 20, 2, 32));
        assert_eq!((hot.waits, hot.barriers, hot.scalar, hot.all), (1, 1, 2, 12));
        assert_eq!((code.whole.stores, code.whole.scalar_loads, code.whole.all), (1, 1, 18));
        assert_eq!(hot.bytes_per_multiply_add(), 5.0);
        assert_eq!(hot.share(), 1.0);
    }

    #[test]
    fn without_a_loop_all_of_it_counts() {
        let code = Code::parse("\tv_fma_f32 v0, v1, v2, v0\n\ts_cbranch_execz BB1\nBB1:\n\tv_mov_b32_e32 v0, 0\n\ts_endpgm\n");
        assert!(code.hottest.is_none());
        assert_eq!((code.hot().multiply_adds, code.hot().vector, code.hot().all), (1, 2, 4));
        assert_eq!(Code::parse(""), Code::default());
    }
}
