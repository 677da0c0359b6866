//! Where sessions run: this machine, Linux users, containers.

use crate::config::key::Default as D;
use crate::config::key::Key;
use crate::config::key::Kind as K;
use crate::config::table::Section;

const NO_CONTAINERS: &str = "sessions run on this machine; containers are not built";
const ONE_USER: &str = "several users with Linux users of their own are not built; this instance serves one account";
const OWN_SOCKETS: &str = "runners bind their sockets in octo's own run directory";
const NO_TOOLS: &str = "file server and ttyd are not used; files and terminals go through the runner";

pub(in crate::config) const SECTIONS: &[Section] = &[
    Section {
        name: "backend",
        doc: "Where sessions run.",
        keys: &[
            Key::new(
                "backend.mode",
                K::Choice(&["local", "container", "auto"]),
                D::Text("local"),
                "On this machine, in containers, or what is there.",
            )
            .not_built(NO_CONTAINERS),
            Key::new(
                "backend.runner.user_plane_enabled",
                K::Bool,
                D::Bool(true),
                "Reach a user's data through that user's runner. It always is.",
            )
            .not_built("a user's data is always reached through that user's runner"),
            Key::new("backend.runner.socket_pattern", K::Text, D::None, "Sockets of runners.").not_built(OWN_SOCKETS),
        ],
    },
    Section {
        name: "local",
        doc: "Sessions on this machine.",
        keys: &[
            Key::new("local.enabled", K::Bool, D::Bool(true), "Offer sessions on this machine.")
                .not_built("sessions always run on this machine"),
            Key::new(
                "local.single_user",
                K::Bool,
                D::Bool(true),
                "One account, whose agents run as octo's own user. `false` asks for several.",
            )
            .not_built(ONE_USER),
            Key::new(
                "local.workspace_dir",
                K::Path,
                D::Text("$HOME/octo/{user_id}"),
                "Folder of sessions that name none; `{user_id}` is the account's id.",
            ),
            Key::new("local.default_agent", K::Text, D::None, "Agent of sessions that name none; pi when not set."),
            Key::new("local.fileserver_binary", K::Text, D::Text("fileserver"), "The file server.").not_built(NO_TOOLS),
            Key::new("local.ttyd_binary", K::Text, D::Text("ttyd"), "The terminal server.").not_built(NO_TOOLS),
            Key::new("local.cleanup_on_startup", K::Bool, D::Bool(false), "End what an earlier octo left behind.")
                .not_built("agents outlive octo on purpose"),
            Key::new("local.stop_sessions_on_shutdown", K::Bool, D::Bool(false), "End agents when octo stops.")
                .not_built("agents outlive octo on purpose; `octo runner stop` ends them"),
            Key::new(
                "local.runner_socket_pattern",
                K::Text,
                D::Text("/run/octo/runner-sockets/{user}/octo-runner.sock"),
                "Sockets of runners.",
            )
            .not_built(OWN_SOCKETS),
            Key::new("local.linux_users.enabled", K::Bool, D::Bool(false), "A Linux user for every account.").not_built(ONE_USER),
            Key::new("local.linux_users.prefix", K::Text, D::Text("octo_"), "What their names start with.").not_built(ONE_USER),
            Key::new("local.linux_users.uid_start", K::Integer(1000, 4_000_000_000), D::Integer(2000), "Their first uid.")
                .not_built(ONE_USER),
            Key::new("local.linux_users.group", K::Text, D::Text("octo"), "Their group.").not_built(ONE_USER),
            Key::new("local.linux_users.shell", K::Path, D::Text("/bin/bash"), "Their shell.").not_built(ONE_USER),
            Key::new("local.linux_users.use_sudo", K::Bool, D::Bool(true), "Make them with sudo.").not_built(ONE_USER),
            Key::new("local.linux_users.create_home", K::Bool, D::Bool(true), "Make their homes.").not_built(ONE_USER),
        ],
    },
    Section {
        name: "container",
        doc: "Sessions in containers.",
        keys: &[
            Key::new("container.runtime", K::Choice(&["auto", "docker", "podman"]), D::Text("auto"), "Which container engine.")
                .not_built(NO_CONTAINERS),
            Key::new("container.binary", K::Path, D::None, "Its program.").not_built(NO_CONTAINERS),
            Key::new("container.default_image", K::Text, D::Text("octo-dev:latest"), "Image of new containers.").not_built(NO_CONTAINERS),
            Key::new("container.base_port", K::Integer(1, 65_535), D::Integer(41_820), "First port on the host.").not_built(NO_CONTAINERS),
            Key::new("container.user_data_path", K::Path, D::None, "Homes of containers.").not_built(NO_CONTAINERS),
            Key::new("container.skel_path", K::Path, D::None, "What a new home starts from.").not_built(NO_CONTAINERS),
        ],
    },
];
