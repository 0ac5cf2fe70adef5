//! Inference alone, without Python: `cargo bench --no-default-features --bench inference`.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use timmy_dispatcher::infer::{explain_task_type, infer_task_type, portable};

fn main() {
    divan::main();
}

/// Prose without a keyword.
const ASCII: &str = "Fix the button on the login page so that it does not jump when users click \
    twice, and add a retry to uploads: the token is gone from local storage after some time. ";
const MIXED: &str = "Кнопка на странице входа прыгает: élève, größe, 修复 按钮 🚀, and the token \
    is gone from local storage. ";

const LENGTHS: [usize; 3] = [40, 2_000, 200_000];

fn text(prose: &str, length: usize) -> String {
    let mut text = prose.repeat(length / prose.len() + 1);
    while text.len() > length {
        text.pop();
    }
    text
}

fn bench<T>(bencher: Bencher<'_, '_>, text: &str, function: fn(&str, &str) -> T) {
    bencher
        .counter(BytesCount::of_str(text))
        .bench(|| function(black_box(text), black_box("")));
}

#[divan::bench(args = LENGTHS)]
fn ascii(bencher: Bencher<'_, '_>, length: usize) {
    bench(bencher, &text(ASCII, length), infer_task_type);
}

#[divan::bench(args = LENGTHS)]
fn ascii_portable(bencher: Bencher<'_, '_>, length: usize) {
    bench(bencher, &text(ASCII, length), portable::infer_task_type);
}

#[divan::bench(args = LENGTHS)]
fn mixed(bencher: Bencher<'_, '_>, length: usize) {
    bench(bencher, &text(MIXED, length), infer_task_type);
}

#[divan::bench(args = LENGTHS)]
fn mixed_portable(bencher: Bencher<'_, '_>, length: usize) {
    bench(bencher, &text(MIXED, length), portable::infer_task_type);
}

#[divan::bench(args = LENGTHS)]
fn ascii_explained(bencher: Bencher<'_, '_>, length: usize) {
    bench(bencher, &text(ASCII, length), explain_task_type);
}
