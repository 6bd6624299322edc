//! The files of `shaders/common/`: what expressions call, and what the files of `shaders/` import.

/// A snippet of `shaders/common/`: its name, its text, and the snippets that must accompany it where an expression calls it. A
/// file that `#import`s one names those, too.
pub(super) struct Snippet {
    pub name: &'static str,
    pub source: &'static str,
    pub needs: &'static [&'static str],
}

macro_rules! snippets {
    ($($name:ident needs $needs:expr;)*) => {
        &[$(Snippet {
            name: stringify!($name),
            source: include_str!(concat!("../../shaders/common/", stringify!($name), ".wgsl")),
            needs: $needs,
        }),*]
    };
}

/// Every snippet, those that are needed before those that need them.
pub(super) const SNIPPETS: &[Snippet] = snippets! {
    bits needs &[];
    order needs &["bits"];
    exp needs &["bits"];
    log needs &["bits"];
    trig needs &["bits"];
    inverse_trig needs &["bits"];
    hyperbolic needs &["bits", "exp"];
    erf needs &["bits", "exp"];
    activation needs &["bits", "exp", "log"];
    pow needs &["bits", "exp"];
    rem needs &["bits"];
    integer needs &[];
    convert needs &["bits"];
    half needs &["bits", "convert"];
    threefry needs &[];
    coefficients needs &[];
    conv_in needs &[];
    fold needs &[];
    grid needs &[];
    lane_sums needs &[];
    maximum needs &[];
    norm_place needs &[];
    norm_sums needs &[];
    norm_total needs &[];
    optim needs &[];
    rows needs &[];
    row_bits needs &[];
    row_tree needs &[];
    row_units needs &[];
    row_scan needs &[];
    row_parts needs &[];
    attention needs &[];
    attention_apply needs &[];
    attention_bits needs &[];
    attention_load needs &[];
    attention_queries needs &[];
    attention_scores needs &[];
    attention_sizes needs &[];
    attention_step needs &[];
    recurrent_load needs &[];
    recurrent_store needs &[];
    sort_key needs &[];
    tile needs &[];
    tile_sums needs &[];
    tile_row needs &[];
    tile_line needs &[];
    tile_loop needs &[];
    tile_step needs &[];
};
