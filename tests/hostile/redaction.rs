//! Redaction of addresses that are none, and of texts that hold some.

use proptest::prelude::*;
use timmy_dispatcher::dispatch::{Settings, api_base, check_http_url, check_repo};
use timmy_dispatcher::http::{redact_url, redact_userinfo};

use super::config;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_taken(text in any::<String>()) {
        let _ = redact_url(&text);
        let once = redact_userinfo(&text);
        prop_assert_eq!(redact_userinfo(&once), once);
    }

    #[test]
    fn text_that_may_be_a_url_is_taken(
        text in r"[a-z]{0,5}:?[/\\]{0,3}[a-z:@/?#\[\]%\\ ]{0,30}",
    ) {
        let _ = redact_url(&text);
        let once = redact_userinfo(&text);
        prop_assert_eq!(redact_userinfo(&once), once);
        let _ = check_http_url("GITEA_URL", &text);
        let _ = check_repo(&text);
    }

    #[test]
    fn a_password_is_never_shown(
        scheme in "(https?|ftp|x)",
        user in "[a-z]{0,5}",
        password in r"[A-Z0-9!$%&'()*+,;=:@/?^`{|}~<>_. -]{6,20}",
        rest in "[a-z.]{0,10}(:[0-9]{1,6})?(/[a-z]{0,4}){0,2}",
    ) {
        // What ends the authority is the server's; a password with it that a URL can be is a host.
        let url = format!("{scheme}://{user}:{password}@{rest}");
        let settings = Settings {
            gitea_url: url.clone(),
            gitea_token: String::new(),
            gitea_repo: String::new(),
            gitea_enabled: true,
        };
        let shown = format!("{settings:?}");
        if !password.contains(['/', '?']) {
            prop_assert!(!redact_url(&url).contains(&password), "{}", redact_url(&url));
            prop_assert!(!shown.contains(&password), "{shown}");
            if let Err(error) = api_base(&url) {
                prop_assert!(!error.to_string().contains(&password), "{error}");
            }
        }
    }

    #[test]
    fn what_surrounds_a_url_stays(before in "[a-z ]{0,10}", after in "[a-z ]{0,10}") {
        let text = format!("{before} http://me:s3cret@git.example/x {after}");
        let clean = format!("{before} http://***@git.example/x {after}");
        prop_assert_eq!(redact_userinfo(&text), clean);
    }
}
