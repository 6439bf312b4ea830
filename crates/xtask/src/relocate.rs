//! Debian's Alertmanager opens its templates in the folder that its package is installed in, and no flag says another one. In our
//! unpacked copy that folder's name is replaced by one of the same length which means "here": it starts where the templates are.

use std::fs;

use anyhow::{Context as _, Result};

use crate::places;

const INSTALLED: &[u8] = b"/usr/share/prometheus/alertmanager";

/// Changes the unpacked copy, if there is one that was not changed yet.
pub(crate) fn alertmanager() -> Result<()> {
    let program = places::unpacked().join("usr/bin/prometheus-alertmanager");
    if !program.is_file() {
        return Ok(());
    }
    let place = || program.display().to_string();
    let mut bytes = fs::read(&program).with_context(place)?;
    if here(&mut bytes) > 0 {
        // Beside it first: a program that runs cannot be written to.
        let new = program.with_extension("new");
        fs::write(&new, bytes).with_context(place)?;
        fs::set_permissions(&new, fs::metadata(&program)?.permissions()).with_context(place)?;
        fs::rename(&new, &program).with_context(place)?;
    }
    Ok(())
}

/// How often the folder was named.
fn here(bytes: &mut [u8]) -> usize {
    let found: Vec<usize> = bytes
        .windows(INSTALLED.len())
        .enumerate()
        .filter_map(|(at, window)| (window == INSTALLED).then_some(at))
        .collect();
    for at in &found {
        for (n, byte) in bytes[*at..*at + INSTALLED.len()].iter_mut().enumerate() {
            *byte = if n % 2 == 0 { b'.' } else { b'/' };
        }
    }
    found.len()
}

#[cfg(test)]
mod tests {
    use super::here;

    #[test]
    fn the_folder_becomes_here_and_nothing_moves() {
        let mut bytes = b"x/usr/share/prometheus/alertmanager/default.tmpl".to_vec();
        let length = bytes.len();
        assert_eq!((here(&mut bytes), bytes.len()), (1, length));
        assert_eq!(bytes, format!("x{}/default.tmpl", "./".repeat(17)).into_bytes());
        assert_eq!(here(&mut bytes), 0);
    }
}
