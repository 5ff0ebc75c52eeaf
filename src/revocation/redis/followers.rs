//! What enforcement points outside have reported, from the node that heard it to all the others.

use std::collections::HashMap;

use super::Redis;
use super::wire::FOLLOWERS;
use crate::revocation::RevocationError;

impl Redis {
    pub(crate) async fn note_follower(&self, name: &str, report: &str) -> Result<(), RevocationError> {
        let session = self.link.session()?;
        let mut command = redis::cmd("HSET");
        command.arg(FOLLOWERS).arg(name).arg(report);
        command.exec_async(&mut session.connection()).await.map_err(|err| self.failed(&session, &err))
    }

    pub(crate) async fn followers(&self) -> Result<HashMap<String, String>, RevocationError> {
        let session = self.link.session()?;
        let mut command = redis::cmd("HGETALL");
        command.arg(FOLLOWERS);
        command.query_async(&mut session.connection()).await.map_err(|err| self.failed(&session, &err))
    }

    pub(crate) async fn forget_followers(&self, names: &[String]) -> Result<(), RevocationError> {
        let session = self.link.session()?;
        let mut command = redis::cmd("HDEL");
        command.arg(FOLLOWERS).arg(names);
        command.exec_async(&mut session.connection()).await.map_err(|err| self.failed(&session, &err))
    }
}
