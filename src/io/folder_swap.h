// Putting a finished folder in the place of a target: the steps of OutputFolder::commit. Every step can be undone or leaves the old
// content in a folder that the error names.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace crucible {

using NamePredicate = std::function<bool(const std::string&)>;

// Names of the entries of a folder, sorted; "." and ".." left out. Throws Error{kIo}.
std::vector<std::string> list_folder(const std::string& path);

// Makes a new folder "PREFIX" + six random characters; empty with errno set when it cannot.
std::string make_temporary_folder(const std::string& prefix);

// Removes a folder and all in it, links unfollowed. Answers whether it is gone.
bool remove_folder(const std::string& path) noexcept;

// Throws Error{kInput} when a folder in `target` has the name of a file in `working`.
void check_no_folder_in_the_way(const std::string& working, const std::string& target);

// `target` is missing or empty: one rename. Answers false when it holds something.
bool rename_into_place(const std::string& working, const std::string& target);

// Swaps the two folders. Returns where the target's old content is now; empty, with nothing changed, when the target cannot be renamed
// (a mount point, for one).
std::string swap_folders(const std::string& working, const std::string& target);

// Makes the swap last, carries what is not the model's from the old folder into the target, and removes the old folder.
void carry_over(const std::string& old_folder, const std::string& target, const NamePredicate& is_model_file);

// Moves the files of `working` (on the same file system) into `target` one by one, replaced files aside first, the file that makes a
// loader see a model last. A failure undoes all moves. `aside_prefix`: where replaced files wait, beside or inside the target.
void move_into_place(const std::string& working, const std::string& target, const NamePredicate& is_model_file,
                     const std::string& aside_prefix);

}  // namespace crucible
