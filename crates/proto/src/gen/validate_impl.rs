impl ::prost_protovalidate::Validate for auth::v1::ResolveContextRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.credential.chars().count() < 1usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "credential",
                        "string.min_len",
                        "value length must be at least 1 characters",
                    ),
                );
        }
        if self.credential.chars().count() > 8192usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "credential",
                        "string.max_len",
                        "value length must be at most 8192 characters",
                    ),
                );
        }
        if let ::core::option::Option::Some(ref _val) = self.tenant_header {
            if (*_val).chars().count() > 200usize {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "tenant_header",
                            "string.max_len",
                            "value length must be at most 200 characters",
                        ),
                    );
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for auth::v1::ProvisionTenantRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.access.is_none() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "access",
                        "required",
                        "value is required",
                    ),
                );
        }
        if let ::core::option::Option::Some(ref _val) = self.owner_user_id {
            if (*_val).is_empty() {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new_constraint(
                            "owner_user_id",
                            "string.uuid_empty",
                            "string.uuid",
                        ),
                    );
            } else if !(::prost_protovalidate::validators::is_uuid(&(*_val))) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new_constraint(
                            "owner_user_id",
                            "string.uuid",
                            "string.uuid",
                        ),
                    );
            }
        }
        if let ::core::option::Option::Some(ref _val) = self.owner_email {
            if (*_val).chars().count() > 254usize {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "owner_email",
                            "string.max_len",
                            "value length must be at most 254 characters",
                        ),
                    );
            }
            if (*_val).is_empty() {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new_constraint(
                            "owner_email",
                            "string.email_empty",
                            "string.email",
                        ),
                    );
            } else if !(::prost_protovalidate::validators::is_email(&(*_val))) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new_constraint(
                            "owner_email",
                            "string.email",
                            "string.email",
                        ),
                    );
            }
        }
        if let ::core::option::Option::Some(ref _val) = self.owner_name {
            if (*_val).chars().count() < 1usize {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "owner_name",
                            "string.min_len",
                            "value length must be at least 1 characters",
                        ),
                    );
            }
            if (*_val).chars().count() > 120usize {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "owner_name",
                            "string.max_len",
                            "value length must be at most 120 characters",
                        ),
                    );
            }
        }
        if let ::core::option::Option::Some(ref _nested) = self.access {
            if let ::core::result::Result::Err(_e) = ::prost_protovalidate::Validate::validate(
                _nested,
            ) {
                for mut _viol in _e.into_violations() {
                    _viol.prepend_field_path("access");
                    violations.push(_viol);
                }
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for auth::v1::ApplyTenantAccessRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.access.is_none() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "access",
                        "required",
                        "value is required",
                    ),
                );
        }
        if let ::core::option::Option::Some(ref _nested) = self.access {
            if let ::core::result::Result::Err(_e) = ::prost_protovalidate::Validate::validate(
                _nested,
            ) {
                for mut _viol in _e.into_violations() {
                    _viol.prepend_field_path("access");
                    violations.push(_viol);
                }
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for auth::v1::TenantAccess {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.tenant_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "tenant_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.tenant_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "tenant_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        #[allow(unused_comparisons)]
        if self.version < 1i64 {
            let mut violation = ::prost_protovalidate::Violation::new_constraint(
                "version",
                "int64.gte",
                "int64.gte",
            );
            violation.set_message("value must be greater than or equal to 1");
            violations.push(violation);
        }
        if self.slug.chars().count() > 40usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "slug",
                        "string.max_len",
                        "value length must be at most 40 characters",
                    ),
                );
        }
        if self.name.chars().count() > 120usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "name",
                        "string.max_len",
                        "value length must be at most 120 characters",
                    ),
                );
        }
        {
            let _s: &str = &self.status;
            if !["active", "suspended"].contains(&_s) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "status",
                            "string.in",
                            "must be in list [\"active\", \"suspended\"]",
                        ),
                    );
            }
        }
        if self.entitled_actions.len() > 1000usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "entitled_actions",
                        "repeated.max_items",
                        "must have at most 1000 items",
                    ),
                );
        }
        for (_idx, _item) in self.entitled_actions.iter().enumerate() {
            let mut _local_violations: ::std::vec::Vec<
                ::prost_protovalidate::Violation,
            > = ::std::vec::Vec::new();
            {
                let violations = &mut _local_violations;
                if (*_item).chars().count() > 120usize {
                    violations
                        .push(
                            ::prost_protovalidate::Violation::new(
                                "",
                                "string.max_len",
                                "value length must be at most 120 characters",
                            ),
                        );
                }
            }
            let _idx_u64: u64 = _idx as u64;
            for mut _v in _local_violations {
                _v.prepend_rule_path("repeated.items");
                _v.prepend_index("entitled_actions", _idx_u64);
                violations.push(_v);
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for google::api::HttpRule {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        for (_idx, _item) in self.additional_bindings.iter().enumerate() {
            if let ::core::result::Result::Err(_e) = ::prost_protovalidate::Validate::validate(
                _item,
            ) {
                let _idx_u64: u64 = _idx as u64;
                for mut _viol in _e.into_violations() {
                    _viol.prepend_index("additional_bindings", _idx_u64);
                    violations.push(_viol);
                }
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for auth::v1::RegisterRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.email.chars().count() > 254usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "email",
                        "string.max_len",
                        "value length must be at most 254 characters",
                    ),
                );
        }
        if self.email.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "email",
                        "string.email_empty",
                        "string.email",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_email(&self.email)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "email",
                        "string.email",
                        "string.email",
                    ),
                );
        }
        if self.password.chars().count() < 15usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "password",
                        "string.min_len",
                        "value length must be at least 15 characters",
                    ),
                );
        }
        if self.password.chars().count() > 256usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "password",
                        "string.max_len",
                        "value length must be at most 256 characters",
                    ),
                );
        }
        if self.name.chars().count() < 1usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "name",
                        "string.min_len",
                        "value length must be at least 1 characters",
                    ),
                );
        }
        if self.name.chars().count() > 120usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "name",
                        "string.max_len",
                        "value length must be at most 120 characters",
                    ),
                );
        }
        {
            let _s: &str = &self.locale;
            if !["", "en", "pt-BR"].contains(&_s) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "locale",
                            "string.in",
                            "must be in list [\"\", \"en\", \"pt-BR\"]",
                        ),
                    );
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for auth::v1::VerifyEmailRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.token.chars().count() < 20usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "token",
                        "string.min_len",
                        "value length must be at least 20 characters",
                    ),
                );
        }
        if self.token.chars().count() > 200usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "token",
                        "string.max_len",
                        "value length must be at most 200 characters",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for auth::v1::LoginRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.email.chars().count() > 254usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "email",
                        "string.max_len",
                        "value length must be at most 254 characters",
                    ),
                );
        }
        if self.email.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "email",
                        "string.email_empty",
                        "string.email",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_email(&self.email)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "email",
                        "string.email",
                        "string.email",
                    ),
                );
        }
        if self.password.chars().count() < 1usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "password",
                        "string.min_len",
                        "value length must be at least 1 characters",
                    ),
                );
        }
        if self.password.chars().count() > 256usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "password",
                        "string.max_len",
                        "value length must be at most 256 characters",
                    ),
                );
        }
        if let ::core::option::Option::Some(ref _val) = self.tenant_id {
            if (*_val).is_empty() {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new_constraint(
                            "tenant_id",
                            "string.uuid_empty",
                            "string.uuid",
                        ),
                    );
            } else if !(::prost_protovalidate::validators::is_uuid(&(*_val))) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new_constraint(
                            "tenant_id",
                            "string.uuid",
                            "string.uuid",
                        ),
                    );
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for auth::v1::RefreshRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.refresh_token.chars().count() < 20usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "refresh_token",
                        "string.min_len",
                        "value length must be at least 20 characters",
                    ),
                );
        }
        if self.refresh_token.chars().count() > 200usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "refresh_token",
                        "string.max_len",
                        "value length must be at most 200 characters",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for auth::v1::SwitchTenantRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.tenant_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "tenant_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.tenant_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "tenant_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::CreateImportRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.niche) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "niche",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.entity) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "entity",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        if self.mapping.chars().count() > 60usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "mapping",
                        "string.max_len",
                        "value length must be at most 60 characters",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::ListImportsRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        #[allow(unused_comparisons)]
        if self.limit < 0i32 || self.limit > 100i32 {
            let mut violation = ::prost_protovalidate::Violation::new_constraint(
                "limit",
                "int32.gte_lte",
                "int32.gte",
            );
            violation
                .set_message(
                    "value must be greater than or equal to 0 and less than or equal to 100",
                );
            violations.push(violation);
        }
        if self.cursor.chars().count() > 1024usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "cursor",
                        "string.max_len",
                        "value length must be at most 1024 characters",
                    ),
                );
        }
        {
            let _s: &str = &self.status;
            if !["", "cancelled", "failed", "queued", "running", "succeeded"]
                .contains(&_s)
            {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "status",
                            "string.in",
                            "must be in list [\"\", \"cancelled\", \"failed\", \"queued\", \"running\", \"succeeded\"]",
                        ),
                    );
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::GetImportRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.import_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "import_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.import_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "import_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::ListImportErrorsRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.import_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "import_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.import_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "import_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        #[allow(unused_comparisons)]
        if self.limit < 0i32 || self.limit > 100i32 {
            let mut violation = ::prost_protovalidate::Violation::new_constraint(
                "limit",
                "int32.gte_lte",
                "int32.gte",
            );
            violation
                .set_message(
                    "value must be greater than or equal to 0 and less than or equal to 100",
                );
            violations.push(violation);
        }
        if self.cursor.chars().count() > 1024usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "cursor",
                        "string.max_len",
                        "value length must be at most 1024 characters",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::WatchImportRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.import_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "import_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.import_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "import_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::CancelImportRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.import_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "import_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.import_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "import_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::GetKitRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.kit_key) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "kit_key",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        if self.version.chars().count() > 30usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "version",
                        "string.max_len",
                        "value length must be at most 30 characters",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::ActivateNicheRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.kit) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "kit",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        if self.version.chars().count() > 30usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "version",
                        "string.max_len",
                        "value length must be at most 30 characters",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::ListNichesRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        #[allow(unused_comparisons)]
        if self.limit < 0i32 || self.limit > 100i32 {
            let mut violation = ::prost_protovalidate::Violation::new_constraint(
                "limit",
                "int32.gte_lte",
                "int32.gte",
            );
            violation
                .set_message(
                    "value must be greater than or equal to 0 and less than or equal to 100",
                );
            violations.push(violation);
        }
        if self.cursor.chars().count() > 1024usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "cursor",
                        "string.max_len",
                        "value length must be at most 1024 characters",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::GetNicheConfigRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.niche) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "niche",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::CreateRecordRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.niche) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "niche",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.entity) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "entity",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        if self.data.is_none() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "data",
                        "required",
                        "value is required",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::ListRecordsRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.niche) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "niche",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.entity) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "entity",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        #[allow(unused_comparisons)]
        if self.limit < 0i32 || self.limit > 100i32 {
            let mut violation = ::prost_protovalidate::Violation::new_constraint(
                "limit",
                "int32.gte_lte",
                "int32.gte",
            );
            violation
                .set_message(
                    "value must be greater than or equal to 0 and less than or equal to 100",
                );
            violations.push(violation);
        }
        if self.cursor.chars().count() > 1024usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "cursor",
                        "string.max_len",
                        "value length must be at most 1024 characters",
                    ),
                );
        }
        if self.facet.len() > 20usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "facet",
                        "repeated.max_items",
                        "must have at most 20 items",
                    ),
                );
        }
        for (_idx, _item) in self.facet.iter().enumerate() {
            let mut _local_violations: ::std::vec::Vec<
                ::prost_protovalidate::Violation,
            > = ::std::vec::Vec::new();
            {
                let violations = &mut _local_violations;
                if (*_item).chars().count() < 3usize {
                    violations
                        .push(
                            ::prost_protovalidate::Violation::new(
                                "",
                                "string.min_len",
                                "value length must be at least 3 characters",
                            ),
                        );
                }
                if (*_item).chars().count() > 300usize {
                    violations
                        .push(
                            ::prost_protovalidate::Violation::new(
                                "",
                                "string.max_len",
                                "value length must be at most 300 characters",
                            ),
                        );
                }
            }
            let _idx_u64: u64 = _idx as u64;
            for mut _v in _local_violations {
                _v.prepend_rule_path("repeated.items");
                _v.prepend_index("facet", _idx_u64);
                violations.push(_v);
            }
        }
        {
            let _s: &str = &self.sort;
            if !["", "created_at:asc", "created_at:desc"].contains(&_s) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "sort",
                            "string.in",
                            "must be in list [\"\", \"created_at:asc\", \"created_at:desc\"]",
                        ),
                    );
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::GetRecordRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.niche) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "niche",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.entity) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "entity",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        if self.record_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "record_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.record_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "record_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::UpdateRecordRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.niche) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "niche",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.entity) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "entity",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        if self.record_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "record_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.record_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "record_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        if self.data.is_none() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "data",
                        "required",
                        "value is required",
                    ),
                );
        }
        if let ::core::option::Option::Some(ref _val) = self.version {
            #[allow(unused_comparisons)]
            if (*_val) < 1i32 {
                let mut violation = ::prost_protovalidate::Violation::new_constraint(
                    "version",
                    "int32.gte",
                    "int32.gte",
                );
                violation.set_message("value must be greater than or equal to 1");
                violations.push(violation);
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::DeleteRecordRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.niche) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "niche",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9-]{1,59}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.entity) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "entity",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9-]{1,59}$`",
                        ),
                    );
            }
        }
        if self.record_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "record_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.record_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "record_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for niche::v1::BatchGetSearchDocumentsRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.record_ids.len() > 500usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "record_ids",
                        "repeated.max_items",
                        "must have at most 500 items",
                    ),
                );
        }
        for (_idx, _item) in self.record_ids.iter().enumerate() {
            let mut _local_violations: ::std::vec::Vec<
                ::prost_protovalidate::Violation,
            > = ::std::vec::Vec::new();
            {
                let violations = &mut _local_violations;
                if (*_item).is_empty() {
                    violations
                        .push(
                            ::prost_protovalidate::Violation::new_constraint(
                                "",
                                "string.uuid_empty",
                                "string.uuid",
                            ),
                        );
                } else if !(::prost_protovalidate::validators::is_uuid(&(*_item))) {
                    violations
                        .push(
                            ::prost_protovalidate::Violation::new_constraint(
                                "",
                                "string.uuid",
                                "string.uuid",
                            ),
                        );
                }
            }
            let _idx_u64: u64 = _idx as u64;
            for mut _v in _local_violations {
                _v.prepend_rule_path("repeated.items");
                _v.prepend_index("record_ids", _idx_u64);
                violations.push(_v);
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for search::v1::SearchRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.query.chars().count() < 1usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "query",
                        "string.min_len",
                        "value length must be at least 1 characters",
                    ),
                );
        }
        if self.query.chars().count() > 500usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "query",
                        "string.max_len",
                        "value length must be at most 500 characters",
                    ),
                );
        }
        if self.niche.chars().count() > 60usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "niche",
                        "string.max_len",
                        "value length must be at most 60 characters",
                    ),
                );
        }
        if self.entity.chars().count() > 60usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "entity",
                        "string.max_len",
                        "value length must be at most 60 characters",
                    ),
                );
        }
        if self.filters.len() > 20usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "filters",
                        "repeated.max_items",
                        "must have at most 20 items",
                    ),
                );
        }
        #[allow(unused_comparisons)]
        if self.limit < 0i32 || self.limit > 100i32 {
            let mut violation = ::prost_protovalidate::Violation::new_constraint(
                "limit",
                "int32.gte_lte",
                "int32.gte",
            );
            violation
                .set_message(
                    "value must be greater than or equal to 0 and less than or equal to 100",
                );
            violations.push(violation);
        }
        {
            let _s: &str = &self.mode;
            if !["", "hybrid", "keyword", "vector"].contains(&_s) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "mode",
                            "string.in",
                            "must be in list [\"\", \"hybrid\", \"keyword\", \"vector\"]",
                        ),
                    );
            }
        }
        for (_idx, _item) in self.filters.iter().enumerate() {
            if let ::core::result::Result::Err(_e) = ::prost_protovalidate::Validate::validate(
                _item,
            ) {
                let _idx_u64: u64 = _idx as u64;
                for mut _viol in _e.into_violations() {
                    _viol.prepend_index("filters", _idx_u64);
                    violations.push(_viol);
                }
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for search::v1::FacetFilter {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.facet.chars().count() < 1usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "facet",
                        "string.min_len",
                        "value length must be at least 1 characters",
                    ),
                );
        }
        if self.facet.chars().count() > 60usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "facet",
                        "string.max_len",
                        "value length must be at most 60 characters",
                    ),
                );
        }
        if self.values.len() < 1usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "values",
                        "repeated.min_items",
                        "must have at least 1 items",
                    ),
                );
        }
        if self.values.len() > 50usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "values",
                        "repeated.max_items",
                        "must have at most 50 items",
                    ),
                );
        }
        for (_idx, _item) in self.values.iter().enumerate() {
            let mut _local_violations: ::std::vec::Vec<
                ::prost_protovalidate::Violation,
            > = ::std::vec::Vec::new();
            {
                let violations = &mut _local_violations;
                if (*_item).chars().count() < 1usize {
                    violations
                        .push(
                            ::prost_protovalidate::Violation::new(
                                "",
                                "string.min_len",
                                "value length must be at least 1 characters",
                            ),
                        );
                }
                if (*_item).chars().count() > 300usize {
                    violations
                        .push(
                            ::prost_protovalidate::Violation::new(
                                "",
                                "string.max_len",
                                "value length must be at most 300 characters",
                            ),
                        );
                }
            }
            let _idx_u64: u64 = _idx as u64;
            for mut _v in _local_violations {
                _v.prepend_rule_path("repeated.items");
                _v.prepend_index("values", _idx_u64);
                violations.push(_v);
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for tenant::v1::CreateTenantRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new(
                        "^[a-z0-9](?:[a-z0-9-]{1,38})[a-z0-9]$",
                    )
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.slug) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "slug",
                            "string.pattern",
                            "does not match regex pattern `^[a-z0-9](?:[a-z0-9-]{1,38})[a-z0-9]$`",
                        ),
                    );
            }
        }
        if self.name.chars().count() < 1usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "name",
                        "string.min_len",
                        "value length must be at least 1 characters",
                    ),
                );
        }
        if self.name.chars().count() > 120usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "name",
                        "string.max_len",
                        "value length must be at most 120 characters",
                    ),
                );
        }
        if self.package_key.chars().count() > 60usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "package_key",
                        "string.max_len",
                        "value length must be at most 60 characters",
                    ),
                );
        }
        if let ::core::option::Option::Some(ref _nested) = self.admin_user {
            if let ::core::result::Result::Err(_e) = ::prost_protovalidate::Validate::validate(
                _nested,
            ) {
                for mut _viol in _e.into_violations() {
                    _viol.prepend_field_path("admin_user");
                    violations.push(_viol);
                }
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for tenant::v1::AdminUser {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.email.chars().count() > 254usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "email",
                        "string.max_len",
                        "value length must be at most 254 characters",
                    ),
                );
        }
        if self.email.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "email",
                        "string.email_empty",
                        "string.email",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_email(&self.email)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "email",
                        "string.email",
                        "string.email",
                    ),
                );
        }
        if self.name.chars().count() < 1usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "name",
                        "string.min_len",
                        "value length must be at least 1 characters",
                    ),
                );
        }
        if self.name.chars().count() > 120usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "name",
                        "string.max_len",
                        "value length must be at most 120 characters",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for tenant::v1::ListTenantsRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        #[allow(unused_comparisons)]
        if self.limit < 0i32 || self.limit > 100i32 {
            let mut violation = ::prost_protovalidate::Violation::new_constraint(
                "limit",
                "int32.gte_lte",
                "int32.gte",
            );
            violation
                .set_message(
                    "value must be greater than or equal to 0 and less than or equal to 100",
                );
            violations.push(violation);
        }
        if self.cursor.chars().count() > 1024usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "cursor",
                        "string.max_len",
                        "value length must be at most 1024 characters",
                    ),
                );
        }
        {
            let _s: &str = &self.status;
            if !["", "active", "suspended"].contains(&_s) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "status",
                            "string.in",
                            "must be in list [\"\", \"active\", \"suspended\"]",
                        ),
                    );
            }
        }
        if self.q.chars().count() > 120usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "q",
                        "string.max_len",
                        "value length must be at most 120 characters",
                    ),
                );
        }
        {
            let _s: &str = &self.sort;
            if !["", "created_at:asc", "created_at:desc"].contains(&_s) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "sort",
                            "string.in",
                            "must be in list [\"\", \"created_at:asc\", \"created_at:desc\"]",
                        ),
                    );
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for tenant::v1::GetTenantRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.tenant_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "tenant_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.tenant_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "tenant_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for tenant::v1::SuspendTenantRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.tenant_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "tenant_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.tenant_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "tenant_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        if self.reason.chars().count() < 3usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "reason",
                        "string.min_len",
                        "value length must be at least 3 characters",
                    ),
                );
        }
        if self.reason.chars().count() > 400usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "reason",
                        "string.max_len",
                        "value length must be at most 400 characters",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for tenant::v1::ReactivateTenantRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        if self.tenant_id.is_empty() {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "tenant_id",
                        "string.uuid_empty",
                        "string.uuid",
                    ),
                );
        } else if !(::prost_protovalidate::validators::is_uuid(&self.tenant_id)) {
            violations
                .push(
                    ::prost_protovalidate::Violation::new_constraint(
                        "tenant_id",
                        "string.uuid",
                        "string.uuid",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for tenant::v1::ListAuditLogsRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        #[allow(unused_comparisons)]
        if self.limit < 0i32 || self.limit > 100i32 {
            let mut violation = ::prost_protovalidate::Violation::new_constraint(
                "limit",
                "int32.gte_lte",
                "int32.gte",
            );
            violation
                .set_message(
                    "value must be greater than or equal to 0 and less than or equal to 100",
                );
            violations.push(violation);
        }
        if self.cursor.chars().count() > 1024usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "cursor",
                        "string.max_len",
                        "value length must be at most 1024 characters",
                    ),
                );
        }
        if self.actor.chars().count() > 64usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "actor",
                        "string.max_len",
                        "value length must be at most 64 characters",
                    ),
                );
        }
        if self.action.chars().count() > 120usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "action",
                        "string.max_len",
                        "value length must be at most 120 characters",
                    ),
                );
        }
        if self.entity_type.chars().count() > 60usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "entity_type",
                        "string.max_len",
                        "value length must be at most 60 characters",
                    ),
                );
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for tenant::v1::ListDeadLettersRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9_.-]{2,100}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.queue) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "queue",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9_.-]{2,100}$`",
                        ),
                    );
            }
        }
        #[allow(unused_comparisons)]
        if self.limit < 0i32 || self.limit > 100i32 {
            let mut violation = ::prost_protovalidate::Violation::new_constraint(
                "limit",
                "int32.gte_lte",
                "int32.gte",
            );
            violation
                .set_message(
                    "value must be greater than or equal to 0 and less than or equal to 100",
                );
            violations.push(violation);
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
impl ::prost_protovalidate::Validate for tenant::v1::ReplayDeadLettersRequest {
    fn validate(
        &self,
    ) -> ::core::result::Result<(), ::prost_protovalidate::ValidationError> {
        let mut violations = ::std::vec::Vec::new();
        {
            static RE: ::std::sync::LazyLock<::prost_protovalidate::regex::Regex> = ::std::sync::LazyLock::new(||
            {
                ::prost_protovalidate::regex::Regex::new("^[a-z][a-z0-9_.-]{2,100}$")
                    .expect("pattern validated at codegen time")
            });
            if !RE.is_match(&self.queue) {
                violations
                    .push(
                        ::prost_protovalidate::Violation::new(
                            "queue",
                            "string.pattern",
                            "does not match regex pattern `^[a-z][a-z0-9_.-]{2,100}$`",
                        ),
                    );
            }
        }
        if self.ids.len() > 1000usize {
            violations
                .push(
                    ::prost_protovalidate::Violation::new(
                        "ids",
                        "repeated.max_items",
                        "must have at most 1000 items",
                    ),
                );
        }
        for (_idx, _item) in self.ids.iter().enumerate() {
            let mut _local_violations: ::std::vec::Vec<
                ::prost_protovalidate::Violation,
            > = ::std::vec::Vec::new();
            {
                let violations = &mut _local_violations;
                if (*_item).is_empty() {
                    violations
                        .push(
                            ::prost_protovalidate::Violation::new_constraint(
                                "",
                                "string.uuid_empty",
                                "string.uuid",
                            ),
                        );
                } else if !(::prost_protovalidate::validators::is_uuid(&(*_item))) {
                    violations
                        .push(
                            ::prost_protovalidate::Violation::new_constraint(
                                "",
                                "string.uuid",
                                "string.uuid",
                            ),
                        );
                }
            }
            let _idx_u64: u64 = _idx as u64;
            for mut _v in _local_violations {
                _v.prepend_rule_path("repeated.items");
                _v.prepend_index("ids", _idx_u64);
                violations.push(_v);
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(::prost_protovalidate::ValidationError::new(violations))
        }
    }
}
