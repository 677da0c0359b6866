//! What the program can see and change, and what it cannot.

use std::{collections::BTreeMap, os::fd::AsRawFd, path::Path};

use octo_sandbox::{Bind, Exit, LaunchError, Profile};

use crate::bed::{Bed, finish, in_time, launcher, line, marker, processes_with, run, write};

#[tokio::test]
async fn the_program_has_descriptors_0_1_2_and_no_other() {
    let bed = Bed::new();
    // A careless descriptor of the caller's: inherited by every ordinary child.
    let careless = std::fs::File::open("/etc/passwd").unwrap();
    // SAFETY: clears a flag of an own descriptor.
    unsafe { nix::libc::fcntl(careless.as_raw_fd(), nix::libc::F_SETFD, 0) };
    let output = run(bed.sh("ls /proc/$$/fd")).await;
    assert_eq!(output.stdout, "0\n1\n2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_share_nothing() {
    let bed = Bed::new();
    let launcher = launcher();
    launcher.check().unwrap();
    let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let runs = (0..50).map(|number| {
        let (launcher, mut spec) = (launcher.clone(), bed.sh("ls /proc/$$/fd; echo $NUMBER; cat"));
        spec.env.insert("NUMBER".to_owned(), number.to_string());
        tokio::spawn(async move {
            let mut sandboxed = launcher.spawn(spec).await.unwrap();
            // If another child held this pipe's other end, `cat` would never see the end of its input.
            drop(sandboxed.stdin.take());
            finish(sandboxed).await
        })
    });
    for (number, run) in runs.collect::<Vec<_>>().into_iter().enumerate() {
        let output = in_time(run).await.unwrap();
        assert_eq!((output.stdout, output.exit), (format!("0\n1\n2\n{number}\n"), Exit::Code(0)), "{}", output.stderr);
    }
    let after = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(after <= before + 4, "{after} descriptors after, {before} before");
}

#[tokio::test]
async fn the_environment_is_exactly_the_given_one() {
    let bed = Bed::new();
    let mut spec = bed.sh("");
    spec.program = "/usr/bin/env".into();
    spec.args = vec!["-0".to_owned()];
    spec.env = BTreeMap::from([("A".to_owned(), "1 =2\n".to_owned()), ("EMPTY".to_owned(), String::new())]);
    assert_eq!(run(spec).await.stdout, "A=1 =2\n\0EMPTY=\0");
}

#[tokio::test]
async fn a_secret_in_the_environment_is_in_no_command_line() {
    let bed = Bed::new();
    let mut spec = bed.sh("echo ready; read forever");
    let secret = format!("canary-{}", marker());
    spec.env.insert("OCTO_EAVS_KEY".to_owned(), secret.clone());
    let mut sandboxed = launcher().spawn(spec).await.unwrap();
    assert_eq!(line(&mut sandboxed).await, "ready");
    assert_eq!(processes_with(&secret), [] as [i32; 0]);
}

#[tokio::test]
async fn masked_directories_are_empty_even_when_they_came_later() {
    let bed = Bed::visible();
    let (present, absent, file) = (bed.home.join("data"), bed.home.join("state/octo"), bed.outside("key.pem"));
    write(&present.join("store/secret"), "secret");
    write(&file, "secret");
    let mut spec = bed.sh("ls -A ~/data ~/state/octo; cat $FILE && echo leaked; touch ~/data/x ~/state/octo/x && echo wrote; \
         echo ready; read go; ls -A ~/state/octo");
    spec.env.insert("FILE".to_owned(), file.to_str().unwrap().to_owned());
    spec.masked = vec![present.clone(), absent.clone(), file];
    let mut sandboxed = launcher().spawn(spec).await.unwrap();
    let home = bed.home.display();
    assert_eq!(line(&mut sandboxed).await, format!("{home}/data:"));
    assert_eq!(line(&mut sandboxed).await, "");
    assert_eq!(line(&mut sandboxed).await, format!("{home}/state/octo:"));
    assert_eq!(line(&mut sandboxed).await, "ready");
    write(&absent.join("initial-admin"), "password");
    sandboxed.stdin.as_ref().unwrap().try_write(b"go\n").unwrap();
    let output = finish(sandboxed).await;
    assert_eq!((output.stdout.as_str(), output.exit), ("", Exit::Code(0)), "{}", output.stderr);
}

#[tokio::test]
async fn a_bind_lies_on_top_of_a_mask() {
    let bed = Bed::visible();
    let data = bed.home.join("data");
    write(&data.join("agents/pi"), "the agent");
    write(&data.join("store/db"), "secret");
    let mut spec = bed.sh("ls -A ~/data; cat ~/data/agents/pi; touch ~/data/agents/x || echo unwritable; cat /run/octo/llm/db");
    spec.masked = vec![data.clone()];
    spec.binds = vec![Bind::read_only(data.join("agents"), data.join("agents")), Bind::read_only(data.join("store"), "/run/octo/llm")];
    assert_eq!(run(spec).await.stdout, "agents\nthe agentunwritable\nsecret");
}

#[tokio::test]
async fn keys_are_neither_read_nor_planted() {
    for present in [true, false] {
        let bed = Bed::visible();
        if present {
            write(&bed.home.join(".ssh/id_ed25519"), "secret");
            write(&bed.home.join(".netrc"), "secret");
            write(&bed.home.join(".config/gh/hosts.yml"), "secret");
        }
        let script = "mkdir -p ~/.ssh ~/.config/autostart ~/.config/systemd/user; cat ~/.ssh/* ~/.netrc ~/.config/gh/*; echo key > ~/.ssh/authorized_keys && echo planted; \
                      mv ~/.ssh ~/elsewhere && echo moved; echo x > ~/.config/autostart/x.desktop && echo planted; \
                      echo x > ~/.config/systemd/user/x.service && echo planted";
        let output = run(bed.sh(script)).await;
        assert_eq!(output.stdout, "", "{}", output.stderr);
        assert!(!bed.home.join(".ssh/authorized_keys").exists());
    }
}

#[tokio::test]
async fn the_workspace_is_writable_and_the_machine_is_not() {
    let bed = Bed::visible();
    let outside = bed.outside("outside");
    std::fs::create_dir(&outside).unwrap();
    // A name that nobody else on this machine has.
    let scratch = format!("octo-scratch-{}", std::process::id());
    let script = format!(
        "echo mine > made; for d in {} /etc /usr/bin /usr/local/bin /var /var/lib /opt / /sys /proc/sys/kernel; do \
         touch $d/octo-was-here 2>/dev/null && echo wrote $d; done; \
         (echo 1 > /proc/sys/kernel/printk_delay) 2>/dev/null && echo wrote a kernel setting; \
         touch /tmp/{scratch} /var/tmp/{scratch} /dev/shm/{scratch} && echo scratch",
        outside.display()
    );
    let output = run(bed.sh(&script)).await;
    assert_eq!(output.stdout, "scratch\n", "{}", output.stderr);
    assert_eq!(std::fs::read_to_string(bed.workspace.join("made")).unwrap(), "mine\n");
    for dir in ["/tmp", "/var/tmp", "/dev/shm"] {
        assert!(!Path::new(dir).join(&scratch).exists(), "scratch files stay inside, {dir} too");
    }
}

#[tokio::test]
async fn profiles_differ_in_what_of_the_home_is_writable() {
    let script = "touch ~/new 2>/dev/null && echo home; touch ~/.cargo/x 2>/dev/null && echo caches; \
                  ls ~/.config/app 2>/dev/null; touch ~/.bashrc ~/.gitconfig 2>/dev/null && echo startup; touch ./new && echo workspace";
    for (profile, expected) in [
        (Profile::Development, "home\ncaches\nsettings\nworkspace\n"),
        (Profile::Minimal, "home\nsettings\nworkspace\n"),
        (Profile::Strict, "workspace\n"),
    ] {
        let bed = Bed::visible();
        for file in [".cargo/registry/index", ".bashrc", ".gitconfig", ".config/app/settings"] {
            write(&bed.home.join(file), "x");
        }
        let mut spec = bed.sh(script);
        spec.profile = profile;
        assert_eq!(run(spec).await.stdout, expected, "{profile}");
    }
}

#[tokio::test]
async fn strict_may_be_opened_by_name() {
    let bed = Bed::visible();
    write(&bed.home.join(".pi/agent/settings.json"), "{}");
    write(&bed.home.join(".config/tool/rc"), "rc");
    let mut spec = bed.sh("touch ~/.pi/x && cat ~/.config/tool/rc; touch ~/.config/tool/x 2>/dev/null || echo unwritable");
    spec.profile = Profile::Strict;
    spec.read_write = vec![bed.home.join(".pi"), bed.home.join("not-there")];
    spec.read_only = vec![bed.home.join(".config/tool")];
    assert_eq!(run(spec).await.stdout, "rcunwritable\n");
}

#[tokio::test]
async fn hooks_and_octos_settings_in_the_workspace_stay_as_they_are() {
    let bed = Bed::new();
    write(&bed.workspace.join(".git/hooks/pre-commit.sample"), "x");
    write(&bed.workspace.join(".octo/sandbox.toml"), "x");
    let script = "touch .git/hooks/pre-commit && echo hook; rm .octo/sandbox.toml && echo removed; touch .git/index && echo git";
    assert_eq!(run(bed.sh(script)).await.stdout, "git\n");
}

#[tokio::test]
async fn other_homes_and_run_are_hidden() {
    let bed = Bed::new();
    let output = run(bed.sh("ls -A /home /root; ls -A /run; ls -A /run/octo")).await;
    assert_eq!(output.stdout, "/home:\n\n/root:\nocto\nbin\n");
}

#[tokio::test]
async fn processes_outside_are_invisible_and_privileges_are_gone() {
    let bed = Bed::new();
    let output = run(
        bed.sh("ls /proc | grep -c '^[0-9]'; grep -E '^(Cap(Eff|Prm|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status; cat /proc/1/environ")
    )
    .await;
    let zero = "\t0000000000000000\n";
    let lines = output.stdout;
    let count: u32 = lines.lines().next().unwrap().parse().unwrap();
    assert!(count <= 5, "{lines}");
    for field in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(lines.contains(&format!("{field}:{zero}")), "{lines}");
    }
    assert!(lines.contains("NoNewPrivs:\t1\n") && lines.contains("Seccomp:\t2\n"), "{lines}");
    assert!(output.stderr.contains("Permission denied"), "pid 1 cannot be looked into: {}", output.stderr);
}

#[tokio::test]
async fn a_workspace_that_would_open_the_machine_or_octo_is_refused() {
    let bed = Bed::visible();
    let data = bed.home.join(".local/share/octo");
    std::fs::create_dir_all(data.join("store")).unwrap();
    std::fs::create_dir_all(bed.home.join(".ssh")).unwrap();
    std::os::unix::fs::symlink(data.join("store"), bed.home.join("innocent")).unwrap();
    write(&bed.home.join("file"), "x");
    let cases = [
        ("/".into(), "system directory"),
        ("/etc".into(), "system directory"),
        ("/usr/local/share".into(), "system directory"),
        ("/proc/self".into(), "system directory"),
        ("/tmp".into(), "shared by the whole machine"),
        (bed.outside(""), "contains the whole home"),
        (data.clone(), "may not see"),
        (data.join("store"), "may not see"),
        (bed.home.join("innocent"), "may not see"),
        (bed.home.join(".ssh"), "may not see"),
        (bed.home.join("gone"), "cannot be used"),
        (bed.home.join("file"), "not a directory"),
        ("relative".into(), "not absolute"),
    ];
    for (workspace, expected) in cases {
        let mut spec = bed.sh("echo ran");
        (spec.workspace, spec.masked) = (workspace.clone(), vec![data.clone()]);
        let mut sandboxed = launcher().spawn(spec).await.unwrap();
        let error = in_time(sandboxed.started()).await.unwrap_err();
        assert!(matches!(&error, LaunchError::Refused { reason } if reason.contains(expected)), "{workspace:?}: {error}");
        assert_eq!(finish(sandboxed).await.stdout, "", "{workspace:?}");
    }
}

#[tokio::test]
async fn the_home_itself_as_workspace_keeps_its_secrets() {
    let bed = Bed::visible();
    write(&bed.home.join(".ssh/id"), "secret");
    let mut spec = bed.sh("cat ~/.ssh/id; touch ~/made; ls ~/made");
    spec.workspace = bed.home.clone();
    spec.cwd = bed.home.clone();
    spec.profile = Profile::Strict;
    assert_eq!(run(spec).await.stdout, format!("{}/made\n", bed.home.display()));
}

#[tokio::test]
async fn a_bind_without_a_source_is_named_as_the_reason() {
    let bed = Bed::new();
    let mut spec = bed.sh("true");
    spec.binds = vec![Bind::read_only("/nowhere/llm", "/run/octo/llm")];
    let error = in_time(launcher().spawn(spec).await.unwrap().started()).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/llm"), "{error}");
}

#[tokio::test]
async fn what_bubblewrap_complains_about_is_passed_on() {
    let bed = Bed::new();
    let mut spec = bed.sh("true");
    spec.binds = vec![Bind::read_only("/usr", "/usr/no-place-for-it")];
    let mut sandboxed = launcher().spawn(spec).await.unwrap();
    let error = in_time(sandboxed.started()).await.unwrap_err();
    assert!(matches!(&error, LaunchError::Setup { detail } if detail.contains("/usr/no-place-for-it")), "{error}");
    assert!(matches!(in_time(sandboxed.wait()).await, Exit::NotStarted { .. }));
}

#[tokio::test]
async fn a_workspace_exchanged_for_a_link_at_the_last_moment_is_noticed() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::visible();
    let (victim, aside, wrapper) = (bed.home.join("private"), bed.outside("aside"), bed.outside("bwrap"));
    write(&victim.join("file"), "private");
    // Stands for an agent that wins the race: acts when the mounts have been decided and before they are made.
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --args ] && /bin/mv {work} {aside} && /bin/ln -s private {work}\nexec /usr/bin/bwrap \"$@\"\n",
        work = bed.workspace.display(),
        aside = aside.display()
    );
    write(&wrapper, &script);
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut sandboxed = launcher().bwrap(&wrapper).spawn(bed.sh("cat file")).await.unwrap();
    let error = in_time(sandboxed.started()).await.unwrap_err();
    assert!(error.to_string().contains("was exchanged"), "{error}");
    assert_eq!(finish(sandboxed).await.stdout, "");
}

#[tokio::test]
async fn roots_own_secrets_stay_outside() {
    let bed = Bed::new();
    assert_eq!(run(bed.sh("cat /etc/shadow /etc/gshadow")).await.stdout, "");
}
