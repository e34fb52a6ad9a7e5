//! A container: what it runs, its environment, probes, hooks and limits.

use std::collections::BTreeMap;

use super::super::{IntOrString, Quantity};

view! {
    Capabilities {
        add: Option<Vec<String>> = "add",
        drop: Option<Vec<String>> = "drop",
    }
    ConfigMapEnvSource {
        name: String = "name",
        optional: Option<bool> = "optional",
    }
    ConfigMapKeySelector {
        key: String = "key",
        name: String = "name",
        optional: Option<bool> = "optional",
    }
    Container {
        args: Option<Vec<String>> = "args",
        command: Option<Vec<String>> = "command",
        env: Option<Vec<EnvVar>> = "env",
        env_from: Option<Vec<EnvFromSource>> = "envFrom",
        image: Option<String> = "image",
        image_pull_policy: Option<String> = "imagePullPolicy",
        lifecycle: Option<Lifecycle> = "lifecycle",
        liveness_probe: Option<Probe> = "livenessProbe",
        name: String = "name",
        ports: Option<Vec<ContainerPort>> = "ports",
        readiness_probe: Option<Probe> = "readinessProbe",
        resources: Option<ResourceRequirements> = "resources",
        restart_policy: Option<String> = "restartPolicy",
        security_context: Option<SecurityContext> = "securityContext",
        startup_probe: Option<Probe> = "startupProbe",
        stdin: Option<bool> = "stdin",
        target_container_name: Option<String> = "targetContainerName",
        termination_message_path: Option<String> = "terminationMessagePath",
        termination_message_policy: Option<String> = "terminationMessagePolicy",
        tty: Option<bool> = "tty",
        volume_mounts: Option<Vec<VolumeMount>> = "volumeMounts",
        working_dir: Option<String> = "workingDir",
    }
    ContainerPort {
        container_port: i32 = "containerPort",
        host_ip: Option<String> = "hostIP",
        host_port: Option<i32> = "hostPort",
        name: Option<String> = "name",
        protocol: Option<String> = "protocol",
    }
    EnvFromSource {
        config_map_ref: Option<ConfigMapEnvSource> = "configMapRef",
        prefix: Option<String> = "prefix",
        secret_ref: Option<SecretEnvSource> = "secretRef",
    }
    EnvVar {
        name: String = "name",
        value: Option<String> = "value",
        value_from: Option<EnvVarSource> = "valueFrom",
    }
    EnvVarSource {
        config_map_key_ref: Option<ConfigMapKeySelector> = "configMapKeyRef",
        field_ref: Option<ObjectFieldSelector> = "fieldRef",
        resource_field_ref: Option<ResourceFieldSelector> = "resourceFieldRef",
        secret_key_ref: Option<SecretKeySelector> = "secretKeyRef",
    }
    ExecAction {
        command: Option<Vec<String>> = "command",
    }
    GRPCAction {
        port: i32 = "port",
        service: Option<String> = "service",
    }
    HTTPGetAction {
        host: Option<String> = "host",
        http_headers: Option<Vec<HTTPHeader>> = "httpHeaders",
        path: Option<String> = "path",
        port: IntOrString = "port",
        scheme: Option<String> = "scheme",
    }
    HTTPHeader {
        name: String = "name",
        value: String = "value",
    }
    Lifecycle {
        post_start: Option<LifecycleHandler> = "postStart",
        pre_stop: Option<LifecycleHandler> = "preStop",
        stop_signal: Option<String> = "stopSignal",
    }
    LifecycleHandler {
        exec: Option<ExecAction> = "exec",
        http_get: Option<HTTPGetAction> = "httpGet",
        sleep: Option<SleepAction> = "sleep",
        tcp_socket: Option<TCPSocketAction> = "tcpSocket",
    }
    ObjectFieldSelector {
        api_version: Option<String> = "apiVersion",
        field_path: String = "fieldPath",
    }
    Probe {
        exec: Option<ExecAction> = "exec",
        failure_threshold: Option<i32> = "failureThreshold",
        grpc: Option<GRPCAction> = "grpc",
        http_get: Option<HTTPGetAction> = "httpGet",
        initial_delay_seconds: Option<i32> = "initialDelaySeconds",
        period_seconds: Option<i32> = "periodSeconds",
        success_threshold: Option<i32> = "successThreshold",
        tcp_socket: Option<TCPSocketAction> = "tcpSocket",
        termination_grace_period_seconds: Option<i64> = "terminationGracePeriodSeconds",
        timeout_seconds: Option<i32> = "timeoutSeconds",
    }
    ResourceFieldSelector {
        container_name: Option<String> = "containerName",
        divisor: Option<Quantity> = "divisor",
        resource: String = "resource",
    }
    ResourceRequirements {
        limits: Option<BTreeMap<String, Quantity>> = "limits",
        requests: Option<BTreeMap<String, Quantity>> = "requests",
    }
    SeccompProfile {
        localhost_profile: Option<String> = "localhostProfile",
        type_: String = "type",
    }
    SecretEnvSource {
        name: String = "name",
        optional: Option<bool> = "optional",
    }
    SecretKeySelector {
        key: String = "key",
        name: String = "name",
        optional: Option<bool> = "optional",
    }
    SecurityContext {
        allow_privilege_escalation: Option<bool> = "allowPrivilegeEscalation",
        capabilities: Option<Capabilities> = "capabilities",
        privileged: Option<bool> = "privileged",
        proc_mount: Option<String> = "procMount",
        read_only_root_filesystem: Option<bool> = "readOnlyRootFilesystem",
        run_as_group: Option<i64> = "runAsGroup",
        run_as_non_root: Option<bool> = "runAsNonRoot",
        run_as_user: Option<i64> = "runAsUser",
        seccomp_profile: Option<SeccompProfile> = "seccompProfile",
    }
    SleepAction {
        seconds: i64 = "seconds",
    }
    TCPSocketAction {
        host: Option<String> = "host",
        port: IntOrString = "port",
    }
    VolumeMount {
        mount_path: String = "mountPath",
        mount_propagation: Option<String> = "mountPropagation",
        name: String = "name",
        read_only: Option<bool> = "readOnly",
        recursive_read_only: Option<String> = "recursiveReadOnly",
        sub_path: Option<String> = "subPath",
        sub_path_expr: Option<String> = "subPathExpr",
    }
}
