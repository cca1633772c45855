# `cmake --install`: the program, the links that carry mergekit's names, the headers, the CMake package, completions.
install(TARGETS crucible_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS crucible EXPORT crucible_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/crucible DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT crucible_targets NAMESPACE crucible:: FILE crucible_targets.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/crucible)
configure_package_config_file(cmake/crucible-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/crucible-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/crucible)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/crucible-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/crucible-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/crucible-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/crucible)
foreach(link IN ITEMS mergekit-yaml mergekit-legacy mergekit-layershuffle mergekit-multi mergekit-pytorch bakllama)
  install(CODE "file(CREATE_LINK crucible \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/${link}\" SYMBOLIC)")
endforeach()

# Completion scripts come from the program's own option declarations.
install(CODE "
  set(prefix \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}\")
  foreach(pair IN ITEMS bash:bash-completion/completions/crucible zsh:zsh/site-functions/_crucible fish:fish/vendor_completions.d/crucible.fish)
    string(REPLACE \":\" \";\" pair \"\${pair}\")
    list(GET pair 0 shell)
    list(GET pair 1 path)
    get_filename_component(folder \"\${prefix}/\${path}\" DIRECTORY)
    file(MAKE_DIRECTORY \"\${folder}\")
    execute_process(COMMAND \"$<TARGET_FILE:crucible_program>\" completion \${shell} OUTPUT_FILE \"\${prefix}/\${path}\" COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
")
