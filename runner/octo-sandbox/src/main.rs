//! `octo-sandbox`: see the library of the same name.

fn main() -> std::process::ExitCode {
    octo_sandbox::program()
}
