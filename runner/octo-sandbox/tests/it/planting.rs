//! What a program could leave behind to be read or run later, outside or by the next sandbox.

use octo_sandbox::{Bind, Profile};

use crate::bed::{Bed, launcher, run, run_with, write};

#[tokio::test]
async fn moving_what_holds_a_protection_does_not_move_it_away() {
    let bed = Bed::visible();
    let (octo, programs) = (bed.home.join(".local/share/octo"), bed.home.join("tools/octo/bin"));
    write(&octo.join("store/db"), "canary");
    write(&bed.home.join(".config/gh/hosts.yml"), "canary");
    write(&bed.home.join(".aws/credentials"), "canary");
    write(&programs.join("octo-sandbox"), "octo's own");
    write(&bed.workspace.join(".git/hooks/pre-commit.sample"), "x");
    write(&bed.workspace.join("built/octo/octo"), "octo's own");
    let script = "for d in ~/.config ~/.local/share ~/.local ~/.aws ~/tools ~/tools/octo .git built built/octo ~/work; do \
                    mv $d $d.moved && echo moved $d; perl -e 'rename $ARGV[0], \"$ARGV[0].renamed\" and print \"renamed\\n\"' $d; rmdir $d; \
                  done; \
                  mkdir -p ~/.config/systemd/user ~/tools/octo/bin .git/hooks built/octo; \
                  for f in ~/.config/systemd/user/x.service ~/tools/octo/bin/octo-sandbox .git/hooks/pre-commit built/octo/octo; do echo planted > $f && echo planted $f; done; \
                  unshare -Urm sh -c 'umount ~/.aws && echo umounted; mount --bind ~ /tmp && echo bound; mount --move ~/.config /tmp && echo remounted; \
                                      mount -t overlay overlay -o lowerdir=$HOME:/usr /tmp && echo overlaid; mount -o remount,rw,bind .git/hooks && echo writable'; \
                  grep -rh canary ~ /tmp";
    for round in ["first", "second"] {
        let mut spec = bed.sh(script);
        spec.masked = vec![octo.clone()];
        spec.read_only = vec![programs.clone(), bed.workspace.join("built/octo")];
        let output = run(spec).await;
        assert_eq!(output.stdout, "", "{round}: {}", output.stderr);
    }
    assert!(!bed.home.join(".config/systemd/user/x.service").exists());
    assert_eq!(std::fs::read_to_string(programs.join("octo-sandbox")).unwrap(), "octo's own");
    assert_eq!(std::fs::read_to_string(octo.join("store/db")).unwrap(), "canary");
}

#[tokio::test]
async fn files_that_are_obeyed_later_cannot_be_planted_where_there_were_none() {
    let bed = Bed::visible();
    write(&bed.home.join(".cargo/bin/cargo"), "x");
    write(&bed.home.join(".cargo/env"), "x");
    std::fs::create_dir_all(bed.workspace.join(".git")).unwrap();
    let script = "mkdir -p ~/.local/bin ~/.pi/agent/extensions ~/.claude/skills .git/hooks; \
        for f in .bashrc .bash_profile .profile .zshrc .zshenv .inputrc .gitconfig .ssh/rc .config/git/config .local/bin/git .cargo/bin/cargo \
                 .cargo/env .pi/agent/extensions/x.ts .pi/agent/settings.json .claude/settings.json .claude/skills/x work/.git/hooks/pre-push; do \
            (echo planted > ~/$f) && echo wrote $f; rm -f ~/$f; ln -sf /tmp/x ~/$f && echo linked $f; done; \
        echo tool > ~/.cargo/registry && echo cache";
    for profile in [Profile::Development, Profile::Minimal] {
        let mut spec = bed.sh(script);
        spec.profile = profile;
        let output = run(spec).await;
        let expected = if profile == Profile::Development { "cache\n" } else { "" };
        assert_eq!(output.stdout, expected, "{profile}: {}", output.stderr);
    }
}

#[tokio::test]
async fn the_files_made_for_that_change_nothing_for_the_shell() {
    for (login, expected) in [(".profile", "profile"), (".bash_login", "login")] {
        let bed = Bed::visible();
        write(&bed.home.join(login), &format!("echo {expected}\n"));
        run(bed.sh("(echo 'echo planted' > ~/.bash_login) 2>/dev/null; true")).await;
        let shell = std::process::Command::new("/bin/bash").args(["-lc", "true"]).env_clear().env("HOME", &bed.home).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shell.stdout).trim(), expected);
    }
}

#[tokio::test]
async fn the_directory_of_a_socket_can_be_shown_without_letting_it_be_replaced() {
    let bed = Bed::visible();
    let llm = bed.outside("llm");
    std::fs::create_dir(&llm).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(llm.join("eavs.sock")).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"answered").unwrap();
    });
    let mut spec = bed.sh(
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un(\"/run/octo/llm/eavs.sock\")) or die; print <S>'; \
         rm -f /run/octo/llm/eavs.sock && echo removed; touch /run/octo/llm/x && echo wrote",
    );
    spec.binds = vec![Bind::read_only(&llm, "/run/octo/llm")];
    let output = run(spec).await;
    assert_eq!(output.stdout, "answered", "{}", output.stderr);
    answering.join().unwrap();
}

#[tokio::test]
async fn a_bubblewrap_in_the_home_cannot_be_rewritten_by_what_it_holds() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::visible();
    let own = bed.home.join("opt/bwrap");
    write(&own, "#!/bin/sh\nexec /usr/bin/bwrap \"$@\"\n");
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = run_with(
        &launcher().bwrap(&own),
        bed.sh("echo x > ~/opt/bwrap && echo wrote; rm ~/opt/bwrap && echo removed; mv ~/opt ~/opt2 && echo moved"),
    )
    .await;
    assert_eq!(output.stdout, "", "{}", output.stderr);
}
