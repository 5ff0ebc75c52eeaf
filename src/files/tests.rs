//! What is written and read, and who can read it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use secrecy::ExposeSecret as _;

use super::*;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_new_file_is_its_owners_alone_and_never_takes_the_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below").join("secret");
    make_folder(path.parent().unwrap()).unwrap();
    assert_eq!(mode(path.parent().unwrap()).unwrap(), 0o700);
    write_new(&path, b"first").unwrap();
    assert_eq!((mode(&path).unwrap(), fs::read(&path).unwrap()), (0o600, b"first".to_vec()));
    assert_eq!(write_new(&path, b"second").unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    // Nor does it follow a link that somebody put there.
    let link = folder.path().join("link");
    symlink(folder.path().join("elsewhere"), &link).unwrap();
    assert_eq!(write_new(&link, b"second").unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    assert!(!folder.path().join("elsewhere").exists());
    assert_eq!(fs::read(&path).unwrap(), b"first");
}

#[test]
fn a_file_is_replaced_whole_and_becomes_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "old").unwrap();
    chmod(&path, 0o644);
    // Whoever reads on has the old text to its end.
    let reader = fs::File::open(&path).unwrap();
    replace(&path, b"the new text").unwrap();
    assert_eq!(std::io::read_to_string(reader).unwrap(), "old");
    assert_eq!((mode(&path).unwrap(), fs::read(&path).unwrap()), (0o600, b"the new text".to_vec()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn what_a_failed_try_or_somebody_else_left_is_neither_kept_nor_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (folder.path().join("token"), folder.path().join("victim"));
    fs::write(&victim, "victim").unwrap();
    symlink(&victim, folder.path().join("token.next")).unwrap();
    replace(&path, b"new").unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"victim");
    assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn where_the_new_text_cannot_be_written_the_old_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    write_new(&path, b"old").unwrap();
    // A folder stands where the next text would be made.
    fs::create_dir(folder.path().join("token.next")).unwrap();
    assert!(replace(&path, b"new").is_err());
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_file_is_read_up_to_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, [b'x'; 4096]).unwrap();
    assert_eq!(read(&path, 4096).unwrap().len(), 4096);
    let error = read(&path, 4095).unwrap_err();
    assert!(matches!(error, Unreadable::TooLarge(4095)), "{error}");
    assert!(matches!(read_regular(folder.path(), 1).unwrap_err(), Unreadable::NotAFile));
    // Has no end, and says that its size is 0.
    assert!(matches!(read(Path::new("/dev/zero"), 100).unwrap_err(), Unreadable::TooLarge(100)));
    assert!(matches!(read_regular(Path::new("/dev/zero"), 100).unwrap_err(), Unreadable::NotAFile));
    assert!(matches!(read(&folder.path().join("none"), 1).unwrap_err(), Unreadable::Io(_)));
}

#[test]
fn a_secret_is_text_without_the_space_around_it_and_no_error_shows_it() {
    assert_eq!(secret(b" canary\r\n").unwrap().expose_secret(), "canary");
    assert!(matches!(secret(b" \n").unwrap_err(), Unreadable::Empty));
    assert_eq!(password(b" canary \r\n").unwrap().expose_secret(), " canary ");
    assert!(matches!(password(b"\n").unwrap_err(), Unreadable::Empty));
    let error = secret(b"canary\xff").unwrap_err();
    assert!(matches!(error, Unreadable::NotText));
    assert!(!format!("{error:?} {error}").contains("canary"));
    assert!(!format!("{:?}", secret(b"canary").unwrap()).contains("canary"));
}
