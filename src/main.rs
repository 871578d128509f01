//! Arguments to command. Everything else is in `cli`.

use std::process::ExitCode;

// Argon2's 19 MiB come and go with each log-in, and sessions by the million stay: glibc's allocator keeps the former.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    zonegate::cli::run(std::env::args_os())
}
