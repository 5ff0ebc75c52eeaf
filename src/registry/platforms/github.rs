//! GitHub Actions (<https://docs.github.com/actions/reference/openid-connect-reference>).

use super::forge::Unreviewed;
use super::{Claims, is_number};
use crate::domain::pattern::ClaimPattern;

const UNREVIEWED: Unreviewed = Unreviewed { refs: "refs/pull/**", word: "pull request" };

/// Who may start a job of the event, whatever is on the branch.
const OPEN_EVENTS: &[(&str, &str)] = &[
    ("pull_request", "runs code that nobody has reviewed"),
    ("workflow_run", "also starts after a workflow of a pull request"),
    ("issue_comment", "is started by anyone who comments"),
    ("issues", "is started by anyone who opens an issue"),
    ("discussion_comment", "is started by anyone who comments"),
];

/// What pins the workflow that runs, or who may let it run.
const WORKFLOW: &[&str] =
    &["job_workflow_ref", "workflow_ref", "job_workflow_sha", "workflow_sha", "environment"];

pub(super) fn judge(claims: &Claims<'_>) {
    claims.check_ids(&["repository_id", "repository_owner_id"], is_number, "\"456789\"");
    let subject = claims.pattern("sub").map(Subject::read);
    check_circumstances(claims);
    if let Some(pattern) = claims.pattern("ref") {
        check_ref(claims, "ref", pattern);
    }
    for claim in ["job_workflow_ref", "workflow_ref"] {
        UNREVIEWED.check_pinned(claims, claim);
    }
    if let Some(subject) = &subject {
        subject.check(claims);
    }
    check_names(claims, subject.as_ref());
    if !claims.refused.get() {
        check_breadth(claims, subject.as_ref());
    }
}

fn check_circumstances(claims: &Claims<'_>) {
    for claim in ["head_ref", "base_ref"].into_iter().filter(|claim| claims.has(claim)) {
        let problem = "is chosen by whoever opens a pull request, and only pull requests have it";
        claims.refuse(claim, problem, "write ref = \"refs/heads/main\"");
    }
    for claim in ["actor", "actor_id", "triggering_actor"].into_iter().filter(|claim| claims.has(claim)) {
        let problem = "says who started the job, not what it runs";
        claims.warn(claim, problem, "write job_workflow_ref, pinned to a ref, instead");
    }
    if claims.meets("event_name", "pull_request_target") {
        let problem =
            "a job of pull_request_target has the rights of the branch and may run a stranger's code";
        claims.refuse("event_name", problem, "write event_name = \"push\", or \"workflow_dispatch\"");
    }
    for (event, problem) in OPEN_EVENTS {
        if claims.meets("event_name", event) {
            let remedy = "write event_name = \"push\", \"schedule\" or \"workflow_dispatch\"";
            claims.warn("event_name", format!("{event} {problem}"), remedy);
        }
    }
}

fn check_ref(claims: &Claims<'_>, claim: &str, pattern: &ClaimPattern) {
    if pattern.is_exact() && !pattern.as_str().starts_with("refs/") {
        let remedy = format!("write refs/heads/{pattern}");
        claims.warn(claim, "never matches, for GitHub writes a ref whole", remedy);
    }
    UNREVIEWED.check_ref(claims, claim, pattern);
}

/// `sub` as a rule has it.
struct Subject<'r> {
    pattern: &'r ClaimPattern,
    form: Form<'r>,
}

enum Form<'r> {
    /// `repo:acme@77/payments@456789:context`, since July 2026.
    WithIds {
        context: Option<&'r str>,
    },
    /// `repo:acme/payments:context`, before.
    ByName {
        owner: &'r str,
        name: &'r str,
        context: Option<&'r str>,
    },
    /// Of a template (`include_claim_keys`) that has the repository's id.
    CustomWithId,
    Custom,
}

impl<'r> Subject<'r> {
    fn read(pattern: &'r ClaimPattern) -> Self {
        let text = pattern.as_str();
        let form = text.strip_prefix("repo:").and_then(Form::of_repo).unwrap_or_else(|| {
            let words: Vec<&str> = text.split(':').collect();
            let has_id = words.windows(2).any(|pair| pair[0] == "repository_id" && is_number(pair[1]));
            if has_id { Form::CustomWithId } else { Form::Custom }
        });
        Self { pattern, form }
    }

    fn has_id(&self) -> bool {
        matches!(self.form, Form::WithIds { .. } | Form::CustomWithId)
    }

    fn context(&self) -> Option<&'r str> {
        match self.form {
            Form::WithIds { context } | Form::ByName { context, .. } => context,
            Form::CustomWithId | Form::Custom => None,
        }
    }

    /// Whether one of its parts is this claim: the context, or what a template put there.
    fn pins(&self, claim: &str) -> bool {
        self.pattern.as_str().split(':').any(|word| word == claim)
    }

    /// Judges what a star or the context lets in.
    fn check(&self, claims: &Claims<'_>) {
        let text = self.pattern.as_str();
        let repository_ends = text.len() - self.context().map_or(0, str::len);
        let in_name = match self.form {
            Form::Custom | Form::CustomWithId => !self.pattern.is_exact(),
            _ => text[..repository_ends].contains('*'),
        };
        if in_name {
            let problem = "a star before the job's context matches repositories and jobs of others";
            claims.refuse("sub", problem, "write repository_id, ref and job_workflow_ref instead");
            return;
        }
        let Some(context) = self.context().and_then(|context| context.parse::<ClaimPattern>().ok()) else {
            return;
        };
        if super::overlaps(&context, "pull_request") {
            let problem = "matches every pull request of the repository";
            claims.refuse("sub", problem, format!("write {}", self.with_ids("ref:refs/heads/main")));
        } else if let Some(pattern) = context.as_str().strip_prefix("ref:").and_then(|r| r.parse().ok()) {
            check_ref(claims, "sub", &pattern);
        } else if !context.is_exact() {
            let problem = "a star there matches contexts that nobody protects";
            claims.warn("sub", problem, format!("write {}", self.with_ids("ref:refs/heads/main")));
        }
    }

    /// This subject in the form that has ids.
    fn with_ids(&self, context: &str) -> String {
        match self.form {
            Form::ByName { owner, name, .. } => {
                let bare = |word: &'r str| word.split('@').next().unwrap_or_default();
                let (owner, name) = (bare(owner), bare(name));
                format!("sub = \"repo:{owner}@<owner id>/{name}@<repository id>:{context}\"")
            }
            Form::WithIds { .. } => {
                let repository: Vec<&str> = self.pattern.as_str().splitn(3, ':').take(2).collect();
                format!("sub = \"{}:{context}\"", repository.join(":"))
            }
            Form::CustomWithId | Form::Custom => "repository_id beside it".to_owned(),
        }
    }
}

impl<'r> Form<'r> {
    fn of_repo(rest: &'r str) -> Option<Self> {
        let (repository, context) = match rest.split_once(':') {
            Some((repository, context)) => (repository, Some(context)),
            None => (rest, None),
        };
        let (owner, name) = repository.split_once('/')?;
        let has_id =
            |word: &str| word.rsplit_once('@').is_some_and(|(name, id)| !name.is_empty() && is_number(id));
        Some(if has_id(owner) && has_id(name) && !repository.contains('*') {
            Self::WithIds { context }
        } else {
            Self::ByName { owner, name, context }
        })
    }
}

/// Names can be given up and taken by others; ids never are.
fn check_names(claims: &Claims<'_>, subject: Option<&Subject<'_>>) {
    let by_subject = subject.is_some_and(Subject::has_id);
    let repository = by_subject || claims.exact("repository_id").is_some();
    let owner = repository || claims.exact("repository_owner_id").is_some();
    if claims.has("repository") && !repository {
        let name = claims.exact("repository").unwrap_or("OWNER/NAME");
        let problem = "a repository made later under this name would match";
        claims.refuse("repository", problem, format!("write repository_id: `gh api repos/{name} --jq .id`"));
    }
    if claims.has("repository_owner") && !owner {
        let name = claims.exact("repository_owner").unwrap_or("OWNER");
        let problem = "an account made later under this name would match";
        claims.refuse(
            "repository_owner",
            problem,
            format!("write repository_owner_id: `gh api users/{name} --jq .id`"),
        );
    }
    match subject {
        Some(subject) if !repository => {
            let remedy = match subject.context() {
                Some(context) => format!("write repository_id beside it, or {}", subject.with_ids(context)),
                None => "write repository_id beside it".to_owned(),
            };
            let problem = "names the repository without its id: one made later under this name would match, \
                           and GitHub writes ids into sub for repositories made or renamed since July 2026";
            claims.warn("sub", problem, remedy);
        }
        None if !owner && !claims.refused.get() => {
            let problem = "does not say which repository, so that jobs of strangers match";
            claims.refuse("", problem, "add repository_id");
        }
        _ => {}
    }
}

fn check_breadth(claims: &Claims<'_>, subject: Option<&Subject<'_>>) {
    let pins = |claim: &str| claims.has(claim) || subject.is_some_and(|subject| subject.pins(claim));
    let pinned_workflow = claims.has_any(&["job_workflow_ref", "job_workflow_sha"]);
    if subject.is_none() && !claims.has("repository_id") && !pinned_workflow {
        let problem = "every repository of the owner matches, also one that was made a minute ago";
        claims.warn("repository_owner_id", problem, "add repository_id, or job_workflow_ref");
    }
    if WORKFLOW.iter().any(|claim| pins(claim)) {
        return;
    }
    if pins("ref") {
        if pins("event_name") {
            return;
        }
        let claim = if claims.has("ref") { "ref" } else { "sub" };
        let problem = "a job of pull_request_target runs on this ref too";
        claims.warn(claim, problem, "add job_workflow_ref, pinned to a ref, or event_name = \"push\"");
    } else {
        let problem = "any branch of the repository matches, also one that was made a minute ago";
        claims.warn("", problem, "add ref = \"refs/heads/main\" and job_workflow_ref");
    }
}
