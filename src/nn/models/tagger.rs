//! A tagger of sequences.

use crate::error::Result;
use crate::nn::transfer::replace_head;
use crate::nn::{Embedding, EmbeddingConfig, Init, Linear, Lstm, Module, RecurrentConfig, SequenceOptions, fields};
use crate::shape::product;
use crate::tensor::Tensor;

/// Settings of an [`LstmTagger`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaggerConfig {
    /// The number of words. Defaults to 10000.
    pub vocab_size: usize,
    /// Defaults to 2.
    pub tags: usize,
    /// Elements of a word's vector. Defaults to 64.
    pub embedding_dim: usize,
    /// Defaults to 64.
    pub hidden_dim: usize,
    /// Defaults to 1.
    pub num_layers: usize,
    /// Defaults to false.
    pub bidirectional: bool,
    /// Dropout between layers. Defaults to 0.
    pub dropout: f64,
    /// The word that stands for padding. Defaults to none.
    pub padding_idx: Option<usize>,
}

impl Default for TaggerConfig {
    fn default() -> Self {
        Self {
            vocab_size: 10_000,
            tags: 2,
            embedding_dim: 64,
            hidden_dim: 64,
            num_layers: 1,
            bidirectional: false,
            dropout: 0.0,
            padding_idx: None,
        }
    }
}

/// Embedding, LSTM and a linear layer: words `[n, t]` to logits `[n, t, tags]`.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct LstmTagger {
    /// `[vocab_size, embedding_dim]`.
    pub word_embeddings: Embedding,
    /// Batch-first.
    pub lstm: Lstm,
    /// The head, `[tags, directions · hidden_dim]`.
    pub hidden2tag: Linear,
}

impl LstmTagger {
    /// A model of the given settings.
    ///
    /// # Errors
    /// Impossible sizes; a dropout outside `0..=1`; the device is out of memory.
    #[track_caller]
    pub fn new(config: TaggerConfig, init: &Init) -> Result<Self> {
        let recurrent = RecurrentConfig {
            num_layers: config.num_layers,
            batch_first: true,
            dropout: config.dropout,
            bidirectional: config.bidirectional,
            ..RecurrentConfig::default()
        };
        let width = product(&[config.hidden_dim, 1 + usize::from(config.bidirectional)]);
        let padding = EmbeddingConfig { padding_idx: config.padding_idx };
        Ok(Self {
            word_embeddings: Embedding::with(config.vocab_size, config.embedding_dim, padding, init)?,
            lstm: Lstm::with(config.embedding_dim, config.hidden_dim, recurrent, init)?,
            hidden2tag: Linear::new(width, config.tags, init)?,
        })
    }

    /// Tags sequences of the given lengths; logits past an end are the head's bias.
    ///
    /// # Errors
    /// A word past the vocabulary; lengths that do not fit.
    #[track_caller]
    pub fn tag(&self, words: &Tensor, lengths: Option<&[usize]>) -> Result<Tensor> {
        let options = SequenceOptions { lengths: lengths.map(<[usize]>::to_vec), ..SequenceOptions::default() };
        self.hidden2tag.forward(&self.lstm.run(&self.word_embeddings.forward(words)?, &options)?.output)
    }

    /// Replaces `hidden2tag` with a new head.
    ///
    /// # Errors
    /// It takes a different number of features.
    #[track_caller]
    pub fn set_head(&mut self, head: Linear) -> Result<()> {
        replace_head(&mut self.hidden2tag, head)
    }
}

impl Module for LstmTagger {
    #[track_caller]
    fn forward(&self, words: &Tensor) -> Result<Tensor> {
        self.tag(words, None)
    }
    fields!(word_embeddings, lstm, hidden2tag);
}
