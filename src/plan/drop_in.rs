//! The text of our own drop-in of a unit: a few settings, each once, and nothing of anybody else's.

/// The name sorts after what `systemctl edit` writes (`override.conf`): the last one counts.
pub const DROP_IN: &str = "zz-mcp-ir.conf";

const HEAD: &str = "# Written by mcp-ir: `mcp-ir undo` takes it back.\n[Service]\n";

/// Where it is.
pub fn drop_in_path(unit: &str) -> String {
    format!("/etc/systemd/system/{unit}.d/{DROP_IN}")
}

/// Our drop-in with this setting (`Environment=NAME=`, `MemoryMax=`), and all else that stands in it.
pub fn drop_in_with(found: Option<&str>, setting: &str, value: &str) -> String {
    let text = found.unwrap_or(HEAD);
    let kept: String = text.lines().filter(|l| !l.starts_with(setting)).map(|l| format!("{l}\n")).collect();
    format!("{kept}{setting}{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_stands_once_and_the_others_stay() {
        let first = drop_in_with(None, "Environment=POOL_MAX_SIZE=", "20");
        assert!(first.ends_with("[Service]\nEnvironment=POOL_MAX_SIZE=20\n"), "{first}");
        let second = drop_in_with(Some(&first), "MemoryMax=", "1073741824");
        let third = drop_in_with(Some(&second), "Environment=POOL_MAX_SIZE=", "30");
        assert!(
            third.ends_with("[Service]\nMemoryMax=1073741824\nEnvironment=POOL_MAX_SIZE=30\n"),
            "{third}"
        );
    }
}
