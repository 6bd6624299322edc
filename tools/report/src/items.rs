//! What a report tries, in order: what matters most comes first, so that a slow machine loses the least.

use wgrad_catalogue::networks::Network;
use wgrad_catalogue::{Case, all};

/// Something to try.
pub enum Task {
    /// Every kernel family's trial.
    Trials,
    /// The hardware's limits.
    Ceilings,
    /// A network in training.
    Network(Network),
    /// An operation.
    Operation(Box<Case>),
}

impl Task {
    /// Its name in the report.
    pub fn name(&self) -> String {
        match self {
            Self::Trials => "trials of all kernels".into(),
            Self::Ceilings => "ceilings".into(),
            Self::Network(network) => format!("network {network}"),
            Self::Operation(case) => case.name.clone(),
        }
    }

    /// Seconds after which it counts as hung: a driver that works needs far less.
    pub const fn patience(&self) -> u64 {
        match self {
            Self::Network(_) => 120,
            Self::Trials | Self::Ceilings | Self::Operation(_) => 60,
        }
    }
}

/// The list, or those whose name or group contains a text. Processors take minutes for a step of the large networks, which is of no
/// use to anybody.
pub fn list(only: Option<&str>, software: bool) -> Vec<Task> {
    let cases: Vec<Case> = all();
    let mut tasks = vec![Task::Trials, Task::Ceilings];
    let large = |network: &Network| matches!(network, Network::ResNet18 | Network::MobileNet | Network::GptSmall);
    let networks = Network::ALL.into_iter().filter(|network| !software || !large(network));
    tasks.extend(networks.map(Task::Network));
    tasks.extend(spread(cases).into_iter().map(|case| Task::Operation(Box::new(case))));
    let wanted = |task: &Task| {
        let group = if let Task::Operation(case) = task { case.group.as_str() } else { "" };
        only.is_none_or(|text| task.name().contains(text) || group.contains(text))
    };
    tasks.into_iter().filter(wanted).collect()
}

/// The first case of each group, then the second of each, and so on.
fn spread(cases: Vec<Case>) -> Vec<Case> {
    let mut rounds: Vec<Vec<Case>> = Vec::new();
    let mut seen: Vec<(String, usize)> = Vec::new();
    for case in cases {
        let at = seen.iter().position(|(group, _)| *group == case.group).unwrap_or_else(|| {
            seen.push((case.group.clone(), 0));
            seen.len() - 1
        });
        let round = seen[at].1;
        seen[at].1 += 1;
        if rounds.len() <= round {
            rounds.push(Vec::new());
        }
        rounds[round].push(case);
    }
    rounds.into_iter().flatten().collect()
}
