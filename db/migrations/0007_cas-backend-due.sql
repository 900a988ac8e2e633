GRANT UPDATE (check_due_at) ON cas_backends TO chainloop_system;
