//! Templates, onboarding, feedback, scaffolding.

use crate::config::key::Default as D;
use crate::config::key::Key;
use crate::config::key::Kind as K;
use crate::config::table::Section;

const NO_TEMPLATES: &str = "project templates are not built";
const NO_ONBOARDING: &str = "onboarding is not built";
const NO_FEEDBACK: &str = "feedback is not built";
const NO_SCAFFOLD: &str = "scaffolding projects is not built";

pub(in crate::config) const SECTIONS: &[Section] = &[
    Section {
        name: "templates",
        doc: "Project templates.",
        keys: &[
            Key::new("templates.repo_path", K::Text, D::None, "Repository of templates.").not_built(NO_TEMPLATES),
            Key::new("templates.type", K::Choice(&["remote", "local"]), D::Text("remote"), "Whether it is fetched.")
                .not_built(NO_TEMPLATES),
            Key::new("templates.sync_on_list", K::Bool, D::Bool(true), "Fetch it when templates are listed.").not_built(NO_TEMPLATES),
            Key::new("templates.sync_interval_seconds", K::Integer(1, i64::MAX), D::Integer(120), "At most so often.")
                .not_built(NO_TEMPLATES),
        ],
    },
    Section {
        name: "onboarding_templates",
        doc: "What a new user's main workspace starts from.",
        keys: &[
            Key::new("onboarding_templates.repo_url", K::Text, D::None, "Repository of templates.").not_built(NO_ONBOARDING),
            Key::new("onboarding_templates.local_path", K::Path, D::None, "Templates on this machine.").not_built(NO_ONBOARDING),
            Key::new("onboarding_templates.cache_path", K::Path, D::Derived("below `paths.data_dir`"), "Copy of the repository.")
                .not_built(NO_ONBOARDING),
            Key::new("onboarding_templates.sync_enabled", K::Bool, D::Bool(true), "Fetch the repository.").not_built(NO_ONBOARDING),
            Key::new("onboarding_templates.sync_interval_seconds", K::Integer(1, i64::MAX), D::Integer(300), "At most so often.")
                .not_built(NO_ONBOARDING),
            Key::new("onboarding_templates.use_embedded_fallback", K::Bool, D::Bool(true), "Use octo's own when there is no other.")
                .not_built(NO_ONBOARDING),
            Key::new("onboarding_templates.branch", K::Text, D::Text("main"), "Branch of the repository.").not_built(NO_ONBOARDING),
            Key::new("onboarding_templates.subdirectory", K::Text, D::Text("agents"), "Directory in the repository.")
                .not_built(NO_ONBOARDING),
            Key::new("onboarding_templates.defaults", K::Map, D::None, "Names of the files.").not_built(NO_ONBOARDING),
            Key::new("onboarding_templates.presets", K::Map, D::None, "Named variants.").not_built(NO_ONBOARDING),
        ],
    },
    Section {
        name: "feedback",
        doc: "What users report.",
        keys: &[
            Key::new("feedback.public_dropbox", K::Path, D::Text("/usr/local/share/octo/issues"), "Where reports are dropped.")
                .not_built(NO_FEEDBACK),
            Key::new("feedback.private_archive", K::Path, D::Text("/var/lib/octo/issue-archive"), "Where they are kept.")
                .not_built(NO_FEEDBACK),
            Key::new("feedback.keep_public", K::Bool, D::Bool(true), "Leave them in the dropbox.").not_built(NO_FEEDBACK),
            Key::new("feedback.sync_interval_seconds", K::Integer(1, i64::MAX), D::Integer(60), "How often to collect.")
                .not_built(NO_FEEDBACK),
        ],
    },
    Section {
        name: "scaffold",
        doc: "The program that makes new projects, and its arguments.",
        keys: &[
            Key::new("scaffold.binary", K::Text, D::Text("byt"), "The program.").not_built(NO_SCAFFOLD),
            Key::new("scaffold.subcommand", K::Text, D::Text("new"), "Its subcommand.").not_built(NO_SCAFFOLD),
            Key::new("scaffold.template_arg", K::Text, D::Text("--template"), "Names the template.").not_built(NO_SCAFFOLD),
            Key::new("scaffold.output_arg", K::Text, D::Text("--output"), "Names the folder.").not_built(NO_SCAFFOLD),
            Key::new("scaffold.github_arg", K::Text, D::Text("--github"), "Asks for a repository.").not_built(NO_SCAFFOLD),
            Key::new("scaffold.private_arg", K::Text, D::Text("--private"), "Makes it private.").not_built(NO_SCAFFOLD),
            Key::new("scaffold.description_arg", K::Text, D::Text("--description"), "Describes it.").not_built(NO_SCAFFOLD),
        ],
    },
];
