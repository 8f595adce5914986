//! A NestJS app: the code of docs/MAIN_APP.md, with the packages of npm.

use std::{
    collections::{BTreeMap, VecDeque},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::OnceCell,
    task::spawn_blocking,
};

use crate::npm::Packages;

const MAIN_APP: &str = include_str!("../../docs/MAIN_APP.md");
/// The app, apart from what the document shows of it.
const APP: [(&str, &str); 5] = [
    ("package.json", include_str!("../nest/package.json")),
    (
        "package-lock.json",
        include_str!("../nest/package-lock.json"),
    ),
    ("tsconfig.json", include_str!("../nest/tsconfig.json")),
    ("src/driver.ts", include_str!("../nest/src/driver.ts")),
    ("src/no-assert.ts", include_str!("../nest/src/no-assert.ts")),
];
/// A client by `@golevelup/nestjs-rabbitmq`, which asks for an earlier NestJS.
const GOLEVELUP: [(&str, &str); 4] = [
    ("package.json", include_str!("../golevelup/package.json")),
    (
        "package-lock.json",
        include_str!("../golevelup/package-lock.json"),
    ),
    ("tsconfig.json", include_str!("../golevelup/tsconfig.json")),
    (
        "src/golevelup.ts",
        include_str!("../golevelup/src/golevelup.ts"),
    ),
];
/// Where the document's models begin and end, each line behind four spaces.
const MODELS: [&str; 2] = ["    model Invoice {", "`Booking` is the app's own model"];

/// The app's folder, compiled.
#[derive(Clone, Debug)]
pub struct NestProject {
    packages: Packages,
}

/// The app as a process that does what it is asked.
#[derive(Debug)]
pub struct NestApp {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    asked: u64,
    /// News that came before an answer.
    heard: VecDeque<Heard>,
}

/// News that the app heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The message.
    pub news: Value,
    /// Whose it is, such as `booking 7`.
    pub key: String,
    /// Whether it was new to the app, which did its work then.
    pub done: bool,
}

impl Heard {
    /// What a line of the app tells; `None` where it tells something else.
    fn of(said: &Value) -> Option<Self> {
        Some(Self {
            news: said.get("heard")?.clone(),
            key: said["key"].as_str()?.to_owned(),
            done: said["done"].as_bool()?,
        })
    }
}

impl NestProject {
    /// The app of the document, which is made at the first call of this process.
    ///
    /// # Errors
    /// Node.js or npm is missing, a package cannot be installed, or the document's code does
    /// not compile.
    pub async fn get() -> Result<&'static Self> {
        static PROJECT: OnceCell<NestProject> = OnceCell::const_new();
        PROJECT.get_or_try_init(Self::of_document).await
    }

    /// The client by `@golevelup/nestjs-rabbitmq`, made in the same way.
    ///
    /// # Errors
    /// As [`NestProject::get`].
    pub async fn golevelup() -> Result<&'static Self> {
        static PROJECT: OnceCell<NestProject> = OnceCell::const_new();
        let make = async || {
            let project = Self::install("golevelup", owned(&GOLEVELUP)).await?;
            project.run("node_modules/typescript/bin/tsc", &[]).await?;
            Ok(project)
        };
        PROJECT.get_or_try_init(make).await
    }

    async fn of_document() -> Result<Self> {
        let documented = code_of(MAIN_APP)?;
        let files = owned(&APP).into_iter().chain(documented).collect();
        let project = Self::install("nest", files).await?;
        let generate = ["generate", "--no-hints"];
        project
            .run("node_modules/prisma/build/index.js", &generate)
            .await?;
        project.run("node_modules/typescript/bin/tsc", &[]).await?;
        Ok(project)
    }

    async fn install(name: &'static str, files: Files) -> Result<Self> {
        let files = files.into_iter();
        let files: Vec<_> = files
            .map(|(name, text)| (name, text.into_bytes()))
            .collect();
        let packages = spawn_blocking(move || Packages::install(name, &files)).await??;
        Ok(Self { packages })
    }

    /// Runs a script to its end, which must be a good one.
    async fn run(&self, script: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.script(script);
        // The client is made without a database, and Prisma's program for migrations, which its
        // packages do not hold, need only be there.
        let command = command
            .args(arguments)
            .env("DATABASE_URL", "postgres://nowhere")
            .env("PRISMA_SCHEMA_ENGINE_BINARY", "/bin/true");
        let run = command.output().await?;
        let said = [run.stdout, run.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(run.status.success(), "{script}: {}\n{said}", run.status);
        Ok(())
    }

    /// A script of the folder, to be run by Node.js.
    #[must_use]
    pub fn script(&self, path: &str) -> Command {
        let mut command = Command::from(self.packages.script(path));
        command.kill_on_drop(true);
        command
    }

    /// Starts the app with these variables, and waits until it is ready. With `NEWS=yes` it hears
    /// news as well.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(&self, variables: &[(&str, &str)]) -> Result<NestApp> {
        let mut child = self
            .script("dist/driver.js")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = child.stdout.take().context("no output")?;
        let mut app = NestApp {
            child,
            input,
            output: BufReader::new(output).lines(),
            asked: 0,
            heard: VecDeque::new(),
        };
        while app.next_line().await?["ready"] != true {}
        Ok(app)
    }
}

impl NestApp {
    /// Calls a method of a service: `Ok` holds what it resolves to, `Err` what it rejects
    /// with.
    ///
    /// # Errors
    /// The app has ended.
    pub async fn call(
        &mut self,
        service: &str,
        method: &str,
        arguments: &[Value],
    ) -> Result<Result<Value, Value>> {
        self.asked += 1;
        let call = json!({
            "id": self.asked, "service": service, "method": method, "args": arguments,
        });
        self.input.write_all(format!("{call}\n").as_bytes()).await?;
        loop {
            let answer = self.next_line().await?;
            if let Some(heard) = Heard::of(&answer) {
                self.heard.push_back(heard);
            } else if answer["id"] == self.asked {
                return Ok(match answer.get("ok") {
                    Some(ok) => Ok(ok.clone()),
                    None => Err(answer["err"].clone()),
                });
            }
        }
    }

    /// The next news that the app hears, or has heard.
    ///
    /// # Errors
    /// The app has ended.
    pub async fn hear(&mut self) -> Result<Heard> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            let said = self.next_line().await?;
            self.heard.extend(Heard::of(&said));
        }
    }

    /// The next thing that it says.
    async fn next_line(&mut self) -> Result<Value> {
        loop {
            let line = self.output.next_line().await?;
            let line = line.context("the app has ended; its errors are above")?;
            // NestJS's own log lines, and what the document's code prints, are no JSON.
            if let Ok(said) = serde_json::from_str(&line) {
                return Ok(said);
            }
        }
    }

    /// Ends the app.
    ///
    /// # Errors
    /// It does not end well.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.input);
        let status = self.child.wait().await?;
        ensure!(status.success(), "the app ended with {status}");
        Ok(())
    }
}

/// Files by their names.
type Files = BTreeMap<String, String>;

fn owned(files: &[(&str, &str)]) -> Files {
    let files = files.iter();
    files
        .map(|&(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

/// The files that the document shows: blocks of code whose first line is a comment with the
/// file's name. The models stand apart from the rest of Prisma's schema.
fn code_of(document: &str) -> Result<Files> {
    let mut files = blocks_of(document, "ts");
    for (name, head) in blocks_of(document, "prisma") {
        let [begin, end] = MODELS;
        let models = document
            .split_once(begin)
            .and_then(|(_, rest)| rest.split_once(end));
        let (models, _) = models.context("the document has no models")?;
        let models = models.replace("\n    ", "\n");
        files.insert(name, format!("{head}\n\n{}{models}", begin.trim_start()));
    }
    ensure!(
        files.contains_key("src/main.ts"),
        "docs/MAIN_APP.md has no code"
    );
    Ok(files)
}

fn blocks_of(document: &str, language: &str) -> Files {
    let begin = format!("\n```{language}\n");
    let blocks = document.split(&begin).skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("\n```").map(|(code, _)| code));
    blocks
        .filter_map(|code| {
            let (first, _) = code.split_once('\n')?;
            let name = first.strip_prefix("// ")?;
            let fits = !name.starts_with('/') && !name.contains("..") && !name.contains(' ');
            fits.then(|| (name.to_owned(), code.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_document_is_named_in_its_first_line() {
        let document = "a\n```ts\n// src/a.ts\nlet a;\n```\nb\n```ts\nlet b;\n```\n\
                        ```ts\n// src/../b.ts\n\n```\n";
        let code = blocks_of(document, "ts");
        assert_eq!(code.len(), 1);
        assert_eq!(code["src/a.ts"], "// src/a.ts\nlet a;");
    }
}
