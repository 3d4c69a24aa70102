//! A configured folder is set aside, and an empty one of the same owner and mode stands in its place: one
//! exchange of two names beside each other. No link is followed, nothing is copied, nothing is deleted that
//! holds anything. Its inode says which of the two it is.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Uid, XattrFlags, fchmod, fchown, fgetxattr,
    fsetxattr, mkdirat, openat, openat2, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::apply::{Done, Failed};
use crate::config::Config;
use crate::plan::Aside;
use crate::probe::{blocking, host};

/// What a server keeps of its own: that is never a cache, whatever a configuration calls it.
const DATA: [&str; 6] =
    ["PG_VERSION", "postmaster.pid", "dump.rdb", "appendonly.aof", "appendonlydir", "pg_wal"];
const TRIES: u32 = 100;
/// Of a label or a list.
const LARGEST: usize = 64 << 10;

/// The folder as it stands, and a free name beside it; `None` where there is nothing in it. `Err` says why it is
/// not moved.
pub async fn look(folder: &str, config: &Config, deadline: Instant) -> Result<Option<Aside>, String> {
    let (proc, path) = (config.host.proc.clone(), folder.to_owned());
    blocking(deadline, folder, move || Ok(seen(&proc, &path))).await.map_err(|f| f.detail)?
}

/// Sets it aside, or, with `back`, takes it back: what was made since is kept beside it.
pub async fn swap(a: &Aside, back: bool, config: &Config, deadline: Instant) -> Result<Done, Failed> {
    let (proc, a) = (config.host.proc.clone(), a.clone());
    let swap = move || Ok(swapped(&proc, &a, back));
    // What is cut off by the deadline may go on behind it.
    blocking(deadline, "the folder", swap).await.map_err(|f| Failed::Broken(f.detail))?
}

/// The folder that it is in, without following a link on the way.
fn parent(proc: &str, folder: &str) -> Result<(OwnedFd, String), String> {
    let path = Path::new(folder);
    let (above, name) = path.parent().zip(path.file_name()).ok_or("it is no folder in another")?;
    let name = name.to_str().ok_or("its name can't be read")?.to_owned();
    let root = File::open(host::rooted(proc, "/")).map_err(|e| format!("/: {e}"))?;
    let above = above.strip_prefix("/").map_err(|_| "it is not named in full")?;
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let how = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat2(&root, above, flags, Mode::empty(), how);
    let opened = opened.map_err(|e| match e {
        Errno::LOOP => format!("a link leads to {folder}: none is followed"),
        _ => format!("{folder}: {}", plain(e)),
    })?;
    Ok((opened, name))
}

fn plain(e: Errno) -> String {
    std::io::Error::from(e).to_string().split(" (os").next().unwrap_or_default().to_lowercase()
}

fn seen(proc: &str, folder: &str) -> Result<Option<Aside>, String> {
    let (above, name) = parent(proc, folder)?;
    let stat = stat_of(&above, &name).map_err(|e| match e {
        Errno::NOENT if folder.starts_with("/tmp/") || folder.starts_with("/var/tmp/") => format!(
            "{folder} is not there: with PrivateTmp= it is in /tmp/systemd-private-*, and went with its last stop"
        ),
        e => format!("{folder}: {}", plain(e)),
    })?;
    fits(&above, &name, &stat).map_err(|why| format!("{folder} {why}"))?;
    if is_empty(&above, &name) {
        return Ok(None);
    }
    let free = (1..=TRIES).map(|n| format!("{name}.aside-{n}")).find(|n| is_free(&above, n));
    let aside = free.ok_or_else(|| format!("{folder} was set aside {TRIES} times: see to those first"))?;
    let to =
        format!("{}/{aside}", folder.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above));
    Ok(Some(Aside { folder: folder.to_owned(), to, inode: stat.st_ino }))
}

fn stat_of(above: &OwnedFd, name: &str) -> Result<Stat, Errno> {
    statat(above, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// A run that was killed may have made it, and put nothing into it.
fn is_free(above: &OwnedFd, name: &str) -> bool {
    matches!(stat_of(above, name), Err(Errno::NOENT)) || is_empty(above, name)
}

fn is_folder(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
}

fn is_empty(above: &OwnedFd, name: &str) -> bool {
    open(above, name).and_then(|f| rustix::fs::Dir::read_from(&f)).is_ok_and(|mut dir| {
        // What can't be read is not called empty.
        dir.all(|e| e.is_ok_and(|e| matches!(e.file_name().to_bytes(), b"." | b"..")))
    })
}

fn open(above: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    openat(
        above,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// A folder, of the file system that it is in, that holds no server's data.
fn fits(above: &OwnedFd, name: &str, stat: &Stat) -> Result<(), String> {
    if !is_folder(stat) {
        return Err("is no folder (or a link to one): none is followed".into());
    }
    let outer = rustix::fs::fstat(above).map_err(plain)?;
    if outer.st_dev != stat.st_dev {
        return Err("is a file system of its own: it can't be set aside".into());
    }
    let inside = open(above, name).map_err(plain)?;
    match DATA.iter().find(|d| stat_of(&inside, d).is_ok()) {
        Some(d) => Err(format!("holds a server's data ({d}): it is no cache")),
        None => Ok(()),
    }
}

fn swapped(proc: &str, a: &Aside, back: bool) -> Result<Done, Failed> {
    let refused = |why: String| Failed::Refused { why, hint: None };
    let (above, name) = parent(proc, &a.folder).map_err(refused)?;
    let aside = a.to.rsplit('/').next().unwrap_or_default();
    let inode = |name: &str| stat_of(&above, name).ok().filter(is_folder).map(|s| s.st_ino);
    let (here, there) = (inode(&name), inode(aside));
    let (wanted, is_so) = if back { (there, here == Some(a.inode)) } else { (here, there == Some(a.inode)) };
    if is_so {
        return Ok(Done::already("it is so already"));
    }
    if wanted != Some(a.inode) {
        return Err(Failed::Changed(format!(
            "{} is another folder by now",
            if back { &a.to } else { &a.folder }
        )));
    }
    let denied = |e: Errno| {
        let hint = matches!(e, Errno::PERM | Errno::ACCESS).then(|| "run it as root".to_owned());
        Failed::Refused { why: format!("{}: {}", a.folder, plain(e)), hint }
    };
    if back {
        return taken_back(&above, &name, aside, a, here.is_none()).map_err(denied);
    }
    let stat = stat_of(&above, &name).map_err(denied)?;
    fits(&above, &name, &stat).map_err(refused)?;
    // An empty one first, under the other name: then both names are exchanged at once.
    match mkdirat(&above, aside, Mode::RWXU) {
        Err(Errno::EXIST) if is_empty(&above, aside) => {}
        other => other.map_err(denied)?,
    }
    let made = (|| {
        let (old, new) = (open(&above, &name)?, open(&above, aside)?);
        fchown(&new, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        fchmod(&new, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        like(&old, &new)
    })();
    if let Err(failed) = made.map_err(denied).and_then(|()| exchanged(&above, &name, aside, a)) {
        // It is the empty one still, or again.
        let _ = unlinkat(&above, aside, AtFlags::REMOVEDIR);
        return Err(failed);
    }
    lasting(above)?;
    Ok(Done::new(format!("{} is kept as {}; an empty one is in its place", a.folder, a.to)))
}

/// Between the look and the exchange another may have been put there: that one is given back its name.
fn exchanged(above: &OwnedFd, name: &str, aside: &str, a: &Aside) -> Result<(), Failed> {
    let exchange = || renameat_with(above, aside, above, name, RenameFlags::EXCHANGE);
    exchange().map_err(|e| Failed::Refused { why: format!("{}: {}", a.folder, plain(e)), hint: None })?;
    if stat_of(above, aside).is_ok_and(|s| s.st_ino == a.inode) {
        return Ok(());
    }
    exchange().map_err(|e| Failed::Broken(format!("another is kept as {}: {}", a.to, plain(e))))?;
    Err(Failed::Changed(format!("{} became another folder meanwhile", a.folder)))
}

/// Who may use it, beyond its mode: its label and its lists. What the file system does not know is not missed.
fn like(old: &OwnedFd, new: &OwnedFd) -> Result<(), Errno> {
    let mut value = vec![0; LARGEST];
    for name in ["security.selinux", "system.posix_acl_access", "system.posix_acl_default"] {
        match fgetxattr(old, name, &mut value[..]) {
            Ok(len) => fsetxattr(new, name, &value[..len], XattrFlags::empty())?,
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn taken_back(above: &OwnedFd, name: &str, aside: &str, a: &Aside, missing: bool) -> Result<Done, Errno> {
    let how = if missing { RenameFlags::NOREPLACE } else { RenameFlags::EXCHANGE };
    renameat_with(above, aside, above, name, how)?;
    let _ = rustix::fs::fsync(above);
    // Only what is empty goes; what was made since is kept.
    let rest = match unlinkat(above, aside, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => String::new(),
        Err(_) => format!("; what was made since is kept as {}", a.to),
    };
    Ok(Done::new(format!("{} is what it was{rest}", a.folder)))
}

fn lasting(above: OwnedFd) -> Result<(), Failed> {
    rustix::fs::fsync(&above).map_err(|e| Failed::Broken(format!("it may not last: {}", plain(e))))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn made() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cache");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o2750)).unwrap();
        fs::write(folder.join("index.json"), "{").unwrap();
        let text = folder.display().to_string();
        (dir, text)
    }

    #[test]
    fn errata_45_a_folder_is_set_aside_whole_and_taken_back_with_what_was_made_since_kept() {
        let (_dir, folder) = made();
        let a = seen("/proc", &folder).unwrap().unwrap();
        assert!(swapped("/proc", &a, false).unwrap().detail.contains("is kept as"));
        assert!(fs::read_dir(&folder).unwrap().next().is_none(), "an empty one is in its place");
        assert_eq!(seen("/proc", &folder), Ok(None), "which is not set aside once more");
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o2750);
        assert_eq!(fs::read_to_string(format!("{}/index.json", a.to)).unwrap(), "{");
        assert!(swapped("/proc", &a, false).unwrap().already);
        fs::write(format!("{folder}/new"), "since").unwrap();
        let back = swapped("/proc", &a, true).unwrap();
        assert!(back.detail.contains("what was made since is kept as"), "{}", back.detail);
        assert_eq!(fs::read_to_string(format!("{folder}/index.json")).unwrap(), "{");
        assert_eq!(fs::read_to_string(format!("{}/new", a.to)).unwrap(), "since");
        assert!(swapped("/proc", &a, true).unwrap().already);
        assert!(
            seen("/proc", &folder).unwrap().unwrap().to.ends_with(".aside-2"),
            "what is kept is not used again"
        );
    }

    #[test]
    fn errata_45_nothing_made_since_leaves_nothing_behind() {
        let (dir, folder) = made();
        let a = seen("/proc", &folder).unwrap().unwrap();
        swapped("/proc", &a, false).unwrap();
        swapped("/proc", &a, true).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // A service that removes its cache at its end: then only the name is given back.
        swapped("/proc", &a, false).unwrap();
        fs::remove_dir(&folder).unwrap();
        swapped("/proc", &a, true).unwrap();
        assert!(fs::exists(format!("{folder}/index.json")).unwrap());
    }

    #[test]
    fn errata_45_no_link_is_followed_and_no_servers_data_is_moved() {
        let (dir, folder) = made();
        let link = dir.path().join("link");
        symlink(&folder, &link).unwrap();
        assert!(seen("/proc", link.to_str().unwrap()).unwrap_err().contains("link"));
        let below = dir.path().join("up");
        symlink(dir.path(), &below).unwrap();
        assert!(seen("/proc", below.join("cache").to_str().unwrap()).unwrap_err().contains("link"));
        let a = seen("/proc", &folder).unwrap().unwrap();
        fs::write(format!("{folder}/PG_VERSION"), "15").unwrap();
        assert!(seen("/proc", &folder).unwrap_err().contains("no cache"));
        assert!(matches!(swapped("/proc", &a, false), Err(Failed::Refused { .. })));
        assert!(seen("/proc", "/nonexistent/x/cache").is_err());
        assert!(seen("/proc", "/tmp/mcp-ir-is-not-there").unwrap_err().contains("PrivateTmp="));
    }

    #[test]
    fn rule_3_another_folder_by_now_is_left_alone() {
        let (dir, folder) = made();
        let a = seen("/proc", &folder).unwrap().unwrap();
        // Kept, so that its inode is not given to the next.
        fs::rename(&folder, dir.path().join("old")).unwrap();
        fs::create_dir(&folder).unwrap();
        assert!(matches!(swapped("/proc", &a, false), Err(Failed::Changed(_))));
        assert!(matches!(swapped("/proc", &a, true), Err(Failed::Changed(_))));
    }

    #[test]
    fn rule_1_what_came_there_between_the_look_and_the_exchange_is_given_back_its_name() {
        let (_dir, folder) = made();
        let a = seen("/proc", &folder).unwrap().unwrap();
        let (above, name) = parent("/proc", &folder).unwrap();
        let aside = a.to.rsplit('/').next().unwrap();
        mkdirat(&above, aside, Mode::RWXU).unwrap();
        let other = Aside { inode: a.inode + 1_000_000, ..a.clone() };
        assert!(matches!(exchanged(&above, &name, aside, &other), Err(Failed::Changed(_))));
        assert!(fs::exists(format!("{folder}/index.json")).unwrap() && is_empty(&above, aside));
        exchanged(&above, &name, aside, &a).unwrap();
        assert!(fs::exists(format!("{}/index.json", a.to)).unwrap());
    }

    #[test]
    fn errata_45_a_list_of_who_may_use_it_is_the_new_ones_too() {
        let (_dir, folder) = made();
        // `user::rwx, group::r-x, mask::rwx, other::---, user:4711:rwx`, as the kernel keeps them.
        let mut list = vec![2, 0, 0, 0];
        for (tag, may, id) in
            [(1u16, 7u16, u32::MAX), (2, 7, 4711), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)]
        {
            list.extend(tag.to_le_bytes().into_iter().chain(may.to_le_bytes()).chain(id.to_le_bytes()));
        }
        const LIST: &str = "system.posix_acl_access";
        let old = fs::File::open(&folder).unwrap();
        match fsetxattr(&old, LIST, &list, XattrFlags::empty()) {
            Err(Errno::NOTSUP) => return,
            other => other.unwrap(),
        }
        let a = seen("/proc", &folder).unwrap().unwrap();
        swapped("/proc", &a, false).unwrap();
        let mut now = [0; 256];
        let len = fgetxattr(fs::File::open(&folder).unwrap(), LIST, &mut now[..]).unwrap();
        assert_eq!(now[..len], list);
    }
}
