//! Names that are near to one that was not found. A help for people, and no evidence.

/// At most three, the nearest first. What all units have in common makes nothing similar.
pub fn near<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let stem = |n: &'a str| n.trim_end_matches(".service");
    let name = name.trim_end_matches(".service");
    let rated = all.map(|n| (strsim::jaro_winkler(name, stem(n)), n));
    let mut rated: Vec<(f64, &str)> = rated.filter(|(score, n)| *score > 0.85 && stem(n) != name).collect();
    rated.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    rated.dedup();
    rated.into_iter().take(3).map(|(_, n)| n.to_owned()).collect()
}
