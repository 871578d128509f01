-- A tenant's people, by name: lists of them read no other tenant's rows.
CREATE INDEX account_tenant_username ON account (tenant, username);
