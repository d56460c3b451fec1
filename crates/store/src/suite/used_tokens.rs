//! Used tokens: each is new once, until it is over.

use super::at;
use crate::used_tokens::UsedTokens;

/// Runs the suite over a store without used tokens.
pub async fn used_tokens(tokens: &dyn UsedTokens) {
    assert!(tokens.remember("a", at(100), at(0)).await.unwrap());
    assert!(!tokens.remember("a", at(100), at(1)).await.unwrap());
    assert!(tokens.remember("b", at(100), at(1)).await.unwrap());
    assert!(!tokens.remember("a", at(200), at(99)).await.unwrap());
    assert!(tokens.remember("a", at(200), at(100)).await.unwrap());
    let tries = (0..8).map(|_| tokens.remember("c", at(300), at(100)));
    let new = futures_util::future::join_all(tries).await;
    assert_eq!(
        new.into_iter().filter(|one| *one.as_ref().unwrap()).count(),
        1
    );
}
