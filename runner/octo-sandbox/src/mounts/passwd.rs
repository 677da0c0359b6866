//! Other people's homes, from the text of `/etc/passwd`.

use std::path::{Path, PathBuf};

/// First user id of a person on every distribution we know; lower ones are services, whose "homes" are system directories.
const FIRST_PERSON: u32 = 1000;
/// `nobody`, whose home is nothing of his.
const NOBODY: u32 = 65_534;
/// A directory server may list very many; nobody has more local homes than this.
const MAX_HOMES: usize = 1000;

/// Homes of people other than `uid`, in the order of the file.
pub(super) fn other_homes(passwd: &str, uid: u32) -> Vec<PathBuf> {
    passwd.lines().filter_map(|line| home_of_other(line, uid)).take(MAX_HOMES).collect()
}

fn home_of_other(line: &str, uid: u32) -> Option<PathBuf> {
    let mut fields = line.split(':');
    let owner: u32 = fields.nth(2)?.parse().ok()?;
    let home = Path::new(fields.nth(2)?);
    let is_person = owner >= FIRST_PERSON && owner != NOBODY && owner != uid;
    // `/x` is no home; hiding it would hide a system directory.
    (is_person && home.is_absolute() && home.components().count() > 2).then(|| home.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_people_have_homes_to_hide() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/x\nalice:x:1000:1000::/home/alice:/bin/sh\n\
                      bob:x:1001:1001:B,,:/srv/people/bob:/bin/sh\nodd:x:1002:1002::/:/bin/sh\nbroken:x\nnobody:x:65534:65534::/none/here:/\n";
        assert_eq!(other_homes(passwd, 1000), [PathBuf::from("/srv/people/bob")]);
    }
}
