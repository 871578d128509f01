//! Which ways in a user has: exactly one of four sets, computed and never stored (R1).

use super::{SecurityLevel, SsoScope, SuiteMode, Tenant, User, UserKind};

/// The ways in that a user has. A mix that the rules forbid has no variant (R1, R8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Methods {
    /// Username, password and second factor.
    Local,
    /// The same, or the vendor's suite log-in (R7).
    LocalAndSuite,
    /// The tenant's own identity provider and nothing else (R8).
    Sso,
    /// API credentials and nothing else.
    Api,
}

impl Methods {
    /// Whether a password is evaluated at all for this user.
    pub const fn allows_local(self) -> bool {
        match self {
            Self::Local | Self::LocalAndSuite => true,
            Self::Sso | Self::Api => false,
        }
    }
}

/// The effective ways in of `user`, who belongs to `tenant`.
pub fn methods(tenant: &Tenant, user: &User) -> Methods {
    let exempt = tenant.sso_exempt == Some(user.id);
    match user.kind {
        UserKind::ApiOnly => Methods::Api,
        kind if is_at_provider(kind, tenant.sso, user.sso_selected, exempt) => Methods::Sso,
        UserKind::Regular if tenant.suite.mode != SuiteMode::Off => Methods::LocalAndSuite,
        UserKind::Regular | UserKind::Contractor | UserKind::Dashboard | UserKind::CoManaged => Methods::Local,
    }
}

/// Whether the tenant's own provider says who somebody is, and nothing else does: a user of that kind, `selected` for
/// it or not, or the one who is `exempt` from it.
pub const fn is_at_provider(kind: UserKind, sso: SsoScope, selected: bool, exempt: bool) -> bool {
    let wanted = match sso {
        SsoScope::Off => false,
        SsoScope::Selected => selected,
        SsoScope::All => true,
    };
    wanted && !exempt && kind.has_provider()
}

/// Whether `user` may not use the local log-in that they have, because the tenant requires the suite (D22).
///
/// *Why is that no fifth set of [`Methods`]?* R1 names four. What is required can be given up for one user, and the
/// password, the authenticator and their rules go on being theirs.
pub fn must_use_suite(tenant: &Tenant, user: &User) -> bool {
    let has_suite = methods(tenant, user) == Methods::LocalAndSuite;
    has_suite && is_suite_required(user.kind, tenant.suite.mode, user.suite_exempt)
}

/// The same of somebody for whom the tenant's own provider does not speak.
pub const fn is_suite_required(kind: UserKind, mode: SuiteMode, exempt: bool) -> bool {
    match (kind, mode) {
        (UserKind::Regular, SuiteMode::Required) => !exempt,
        (UserKind::Regular, SuiteMode::Off | SuiteMode::Allowed)
        // The suite does not let them in (D24): they keep the log-in that they have.
        | (UserKind::Contractor | UserKind::CoManaged | UserKind::Dashboard | UserKind::ApiOnly, _) => false,
    }
}

/// Why somebody cannot be the administrator who gets in when the provider is broken (D25).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EmergencyProblem {
    /// Could mend nothing.
    #[error("is no administrator")]
    NotAnAdministrator,
    /// Inactive, or of a kind that has no password.
    #[error("cannot log in")]
    CannotLogIn,
    /// Would not get in.
    #[error("has no password yet: set one first")]
    NoPassword,
}

/// Whether `user` gets in by themselves when nobody else does, and can mend it.
pub fn emergency_problem(user: &User, has_password: bool) -> Option<EmergencyProblem> {
    emergency_problem_of(user.level, user.active, user.kind, has_password)
}

/// The same of somebody who may not be there yet.
pub fn emergency_problem_of(
    level: SecurityLevel,
    active: bool,
    kind: UserKind,
    has_password: bool,
) -> Option<EmergencyProblem> {
    match (level, kind) {
        (SecurityLevel::User, _) => Some(EmergencyProblem::NotAnAdministrator),
        (SecurityLevel::Admin, UserKind::ApiOnly) => Some(EmergencyProblem::CannotLogIn),
        (SecurityLevel::Admin, _) if !active => Some(EmergencyProblem::CannotLogIn),
        (SecurityLevel::Admin, _) => (!has_password).then_some(EmergencyProblem::NoPassword),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{TenantId, UserId};
    use crate::directory::{SecurityOverrides, SuiteAccess};

    const ALICE: UserId = UserId::from_bytes([2; 16]);

    fn check(kind: UserKind, sso: SsoScope, selected: bool, suite: SuiteMode, want: Methods) {
        check_exempt(None, kind, sso, selected, suite, want);
    }

    fn check_exempt(
        sso_exempt: Option<UserId>,
        kind: UserKind,
        sso: SsoScope,
        selected: bool,
        suite: SuiteMode,
        want: Methods,
    ) {
        let (tenant, user) = alice(sso_exempt, kind, sso, selected, suite);
        assert_eq!(methods(&tenant, &user), want, "{kind:?} {sso:?} {selected} {suite:?} {sso_exempt:?}");
    }

    fn alice(
        sso_exempt: Option<UserId>,
        kind: UserKind,
        sso: SsoScope,
        selected: bool,
        suite: SuiteMode,
    ) -> (Tenant, User) {
        let tenant = Tenant {
            id: TenantId::from_bytes([1; 16]),
            slug: "acme".into(),
            name: "Acme".into(),
            zone: "desk.example".parse().unwrap(),
            domains: vec!["acme.example".parse().unwrap()],
            suite: SuiteAccess { mode: suite, ..SuiteAccess::default() },
            sso,
            sso_exempt,
            overrides: SecurityOverrides::default(),
        };
        let user = User {
            id: ALICE,
            tenant: tenant.id,
            username: "alice@acme.example".parse().unwrap(),
            email: None,
            display_name: String::new(),
            kind,
            level: SecurityLevel::User,
            groups: vec![],
            active: true,
            sso_selected: selected,
            suite_exempt: false,
            start_page: None,
            epoch: 0,
            flow_epoch: 0,
        };
        (tenant, user)
    }

    #[test]
    fn r1_each_user_has_exactly_one_allowed_set() {
        check(UserKind::Regular, SsoScope::Off, false, SuiteMode::Off, Methods::Local);
        check(UserKind::Regular, SsoScope::Off, false, SuiteMode::Allowed, Methods::LocalAndSuite);
        check(UserKind::Regular, SsoScope::Selected, true, SuiteMode::Allowed, Methods::Sso);
        check(UserKind::Regular, SsoScope::Selected, false, SuiteMode::Allowed, Methods::LocalAndSuite);
        check(UserKind::Regular, SsoScope::All, false, SuiteMode::Allowed, Methods::Sso);
        check(UserKind::Dashboard, SsoScope::Off, false, SuiteMode::Allowed, Methods::Local);
        check(UserKind::Contractor, SsoScope::Off, false, SuiteMode::Allowed, Methods::Local);
    }

    #[test]
    fn d22_whoever_must_use_the_suite_could_and_nobody_else_must() {
        let of_each = |kind| {
            let scopes = [SsoScope::Off, SsoScope::Selected, SsoScope::All];
            let modes = move |mode| scopes.map(|sso| (kind, mode, sso));
            SuiteMode::ALL.into_iter().flat_map(modes)
        };
        for (kind, mode, sso) in UserKind::ALL.into_iter().flat_map(of_each) {
            for (selected, exempt) in [(false, false), (false, true), (true, false), (true, true)] {
                let (tenant, user) = alice(None, kind, sso, selected, mode);
                let user = User { suite_exempt: exempt, ..user };
                let could = methods(&tenant, &user) == Methods::LocalAndSuite;
                let wanted = could && mode == SuiteMode::Required && !exempt;
                assert_eq!(must_use_suite(&tenant, &user), wanted, "{user:?} {mode:?} {sso:?}");
            }
        }
        let (tenant, user) = alice(None, UserKind::Regular, SsoScope::Selected, false, SuiteMode::Required);
        assert!(must_use_suite(&tenant, &user));
        let (tenant, user) = alice(None, UserKind::Regular, SsoScope::Selected, true, SuiteMode::Required);
        assert!(!must_use_suite(&tenant, &user), "the tenant's own provider says who she is, and nobody else");
    }

    #[test]
    fn trap_17_programs_and_co_managed_people_never_use_the_tenants_provider() {
        for sso in [SsoScope::Off, SsoScope::Selected, SsoScope::All] {
            check(UserKind::ApiOnly, sso, true, SuiteMode::Allowed, Methods::Api);
            check(UserKind::CoManaged, sso, true, SuiteMode::Allowed, Methods::Local);
        }
    }

    #[test]
    fn d25_the_one_emergency_administrator_is_a_local_user_and_nobody_else_is() {
        for sso in [SsoScope::Selected, SsoScope::All] {
            let check = |exempt, suite, want| check_exempt(exempt, UserKind::Regular, sso, true, suite, want);
            check(Some(ALICE), SuiteMode::Off, Methods::Local);
            check(Some(ALICE), SuiteMode::Required, Methods::LocalAndSuite);
            check(Some(UserId::from_bytes([3; 16])), SuiteMode::Allowed, Methods::Sso);
            check_exempt(Some(ALICE), UserKind::ApiOnly, sso, true, SuiteMode::Allowed, Methods::Api);
        }
    }
}
