//! Small file systems, for disks that are to be full: a file, formatted, mounted in the lab's own mounts.
//! The booted system mounts the same device: both see one file system.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apart;
use crate::boot::Booted;
use crate::program::run;

/// How it is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    pub megabytes: u64,
    /// Files it can hold; the formatter's own idea if none.
    pub inodes: Option<u32>,
}

impl Format {
    pub const fn new(megabytes: u64) -> Self {
        Self { megabytes, inodes: None }
    }
}

/// A mounted file system. It stays until it is unmounted, or the lab ends.
pub struct Disk {
    pub place: PathBuf,
    /// Such as `loop3`.
    pub device: String,
}

impl Disk {
    /// Formats a new file beside `place` and mounts it there, over what is there.
    pub fn mount(place: &Path, format: Format) -> Result<Self> {
        ensure!(apart::is_apart(), "this needs mounts of the lab's own: `lab up --apart`");
        let image = place.with_extension("image");
        File::create(&image)?.set_len(format.megabytes << 20)?;
        let mut mkfs = Command::new("mkfs.ext4");
        mkfs.args(["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"]);
        if let Some(inodes) = format.inodes {
            mkfs.args(["-N", &inodes.to_string()]);
        }
        run(mkfs.arg(&image))?;
        fs::create_dir_all(place)?;
        run(Command::new("mount").args(["-o", "loop,errors=remount-ro"]).arg(&image).arg(place))?;
        // The kernel keeps the file's blocks until the last mount of it ends.
        fs::remove_file(&image)?;
        let source = run(Command::new("findmnt").args(["-n", "-o", "SOURCE", "--mountpoint"]).arg(place))?;
        let device = source.trim().trim_start_matches("/dev/").to_owned();
        ensure!(device.starts_with("loop"), "{} is mounted from {device}", place.display());
        Ok(Self { place: place.to_owned(), device })
    }

    /// The same device at the same path, in the booted system.
    pub fn mount_inside(&self, booted: &Booted) -> Result<()> {
        let number = self.device.trim_start_matches("loop");
        let script = "[ -b /dev/$1 ] || mknod /dev/$1 b 7 $2; mount -o errors=remount-ro /dev/$1 \"$3\"";
        let place = self.place.to_string_lossy();
        booted.exec(&["sh", "-c", script, "sh", &self.device, number, &place]).map(drop)
    }

    /// Space for plain users, in bytes.
    pub fn available(&self) -> Result<u64> {
        Room::at(&self.place).map(|room| room.available)
    }
}

/// What plain users may still write where a folder is, and may have at all, in bytes.
pub struct Room {
    place: PathBuf,
    available: u64,
    total: u64,
}

impl Room {
    pub fn at(place: &Path) -> Result<Self> {
        let text = run(Command::new("stat").args(["-f", "-c", "%a %b %S"]).arg(place))?;
        let mut numbers = text.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        let mut number = || numbers.next().context("no number");
        let (available, total, size) = (number()?, number()?, number()?);
        Ok(Self { place: place.to_owned(), available: available * size, total: total * size })
    }

    /// As the tool judges: under 10 % and under 10 GiB. What the lab itself writes is kept free too.
    pub fn is_low(&self) -> bool {
        const LAB: u64 = 4 << 30;
        let left = self.available.saturating_sub(LAB);
        left < 10 << 30 && left < self.total / 10
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: u64| bytes >> 30;
        let (left, total) = (gib(self.available), gib(self.total));
        write!(f, "{left} of {total} GiB are left at {}", self.place.display())
    }
}

/// Ends every mount at or below a folder, the innermost first.
pub fn unmount_below(folder: &Path) {
    let Ok(mounts) = fs::read_to_string("/proc/self/mounts") else { return };
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    let below: Vec<&Path> = places.filter(|place| place.starts_with(folder)).collect();
    for place in below.into_iter().rev() {
        if let Err(e) = run(Command::new("umount").arg(place)) {
            eprintln!("lab: {e:#}");
        }
    }
}
