//! Instance classes: how large one is, and what memory it has.

/// The size of a class within its family, in units of `xlarge`: 12 for `db.r6i.12xlarge`; 0 when unknown.
pub(super) fn size(class: &str) -> f64 {
    match class.rsplit('.').next().unwrap_or_default() {
        "medium" => 0.25,
        "large" => 0.5,
        "xlarge" => 1.0,
        size => size.strip_suffix("xlarge").and_then(|n| n.parse().ok()).unwrap_or(0.0),
    }
}

/// Memory of a class in GiB: AWS's table for the families that Aurora MySQL has, in which memory grows with the size; 0 when
/// unknown. RDS itself does not tell it.
pub(super) fn memory_gib(class: &str) -> f64 {
    let family = class.strip_prefix("db.").and_then(|rest| rest.split('.').next()).unwrap_or_default();
    let per_xlarge = match family {
        "r4" => 30.5,
        "r5" | "r6g" | "r6i" | "r7g" | "r7i" | "r8g" => 32.0,
        "x2g" => 64.0,
        "t3" | "t4g" => 16.0,
        _ => 0.0,
    };
    per_xlarge * size(class)
}

#[cfg(test)]
mod tests {
    use super::{memory_gib, size};

    #[test]
    fn classes_have_sizes() {
        let sizes = ["db.t4g.medium", "db.r6g.large", "db.r6i.xlarge", "db.r6i.12xlarge", "db.serverless"];
        assert_eq!(sizes.map(size), [0.25, 0.5, 1.0, 12.0, 0.0]);
    }

    #[test]
    fn classes_have_memory() {
        let classes = [
            "db.t4g.medium",
            "db.r6i.8xlarge",
            "db.r6i.12xlarge",
            "db.r6i.32xlarge",
            "db.x2g.8xlarge",
            "db.serverless",
            "nonsense",
        ];
        assert_eq!(classes.map(memory_gib), [4.0, 256.0, 384.0, 1024.0, 512.0, 0.0, 0.0]);
    }
}
