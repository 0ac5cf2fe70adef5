//! Compiles the crate in the working directory to WASM and writes the modules, one for the exact
//! rules and one for ranking, with their JavaScript glue into a folder, the argument.
//!
//! wasm-bindgen's own command must have the very version of the crate's dependency; as a library,
//! pinned beside it in one lock file, it is compiled once and needs no tool on the machine.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wasm_bindgen_cli_support::{Bindgen, EncodeInto};

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "web";
/// The modules' names, their features, and how they are optimised: the exact rules for size, and
/// ranking, which is mostly its table, for speed.
const MODULES: [(&str, &str, &str); 2] = [("core", "wasm", "z"), ("ranked", "wasm-rank", "3")];

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::args_os().nth(1).ok_or("say into which folder")?;
    let root = env::current_dir()?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    for (name, feature, level) in MODULES {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(&root)
            .args(["build", "--lib", "--locked"]);
        cargo.args(["--target", TARGET, "--profile", PROFILE]);
        cargo.args(["--no-default-features", "--features", feature]);
        cargo.arg("--target-dir").arg(&target);
        cargo.env("CARGO_PROFILE_WEB_OPT_LEVEL", level);
        let status = cargo
            .env("CARGO_ENCODED_RUSTFLAGS", flags(&root)?)
            .status()?;
        if !status.success() {
            return Err(format!(
                "cargo: {status}; is the target there? rustup target add {TARGET}"
            )
            .into());
        }
        let built = target.join(TARGET).join(PROFILE);
        Bindgen::new()
            .input_path(built.join("timmy_dispatcher.wasm"))
            .out_name(name)
            .web(true)?
            .typescript(true)
            .encode_into(EncodeInto::Always)
            .omit_default_module_path(true)
            .remove_name_section(true)
            .remove_producers_section(true)
            .generate(&out)?;
    }
    Ok(())
}

/// Compiler flags that take this machine's paths out of the module, so that its bytes are the same
/// wherever it is built.
fn flags(root: &Path) -> Result<String, Box<dyn Error>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let mut remapped = vec![(root.to_owned(), "crate")];
    // A registry's folder is named after its address.
    let registries = home.map(|home| fs::read_dir(home.join("registry/src")));
    for registry in registries.into_iter().flatten().flatten() {
        remapped.push((registry?.path(), "registry"));
    }
    let flags: Vec<String> = remapped
        .iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect();
    Ok(flags.join("\u{1f}"))
}
